"""Seeds in blocks until every claim is decided, for the arms of the open ones: those of decided claims rest.

What comes next follows from the ledger alone: a study row for every block (its `seeds` are those so far) and a `look`
row for every look at the claims. So a run that was killed anywhere goes on as if it had not been.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

from atod_sweep.config.base import MOST_SEEDS
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError
from atod_sweep.records import ledger, looks
from atod_sweep.sweep.studies.plan import Plan, Trial
from atod_sweep.sweep.trials.desk import Desk
from atod_sweep.sweep.trials.jobs import Job
from atod_sweep.sweep.trials.source import Queue
from atod_sweep.sweep.work import Work


@dataclass(frozen=True)
class Rule:
    """After the study's own seeds, `block` seeds at a time until all claims are decided, up to `max_seeds` in all."""

    max_seeds: int = 40
    block: int = 5

    def seeds(self, study: Study) -> list[int]:
        """All seeds that may run: the study's own, then those that follow. UserError if that adds none."""
        first = study.seed_list
        if self.block < 1:
            raise UserError(f"--block {self.block}: seeds are added in blocks of at least one; use 1 or more")
        if self.max_seeds > MOST_SEEDS:
            raise UserError(f"--max-seeds {self.max_seeds}: a study has at most {MOST_SEEDS} seeds")
        if self.max_seeds <= len(first):
            raise UserError(
                f"--max-seeds {self.max_seeds}: the study begins with {len(first)} seeds; allow more, or fewer --seeds"
            )
        return study.seeds_in_all(self.max_seeds)


def rule_for(until_decided: bool, **bounds: int | None) -> Rule | None:
    """The rule that a command line asks for; None: no seeds are added. `bounds`: fields of `Rule`, None if not given.

    UserError for bounds without seeds to bound, and where claims cannot be judged.
    """
    given = {name: value for name, value in bounds.items() if value is not None}
    if not until_decided:
        for name in given:
            raise UserError(f"--{name.replace('_', '-')}: is for adding seeds; add --until-decided, or drop it")
        return None
    if find_spec("scipy") is None:
        raise UserError("--until-decided: judging hypotheses needs scipy, which is not here; pip install scipy")
    return Rule(**given)


def in_blocks(work: Work, plan: Plan, first: list[int], rule: Rule) -> Work:
    """A study's work, begun with the seeds `first`; `plan` holds the trials of all seeds that may run."""
    if not plan.study.hypotheses:
        raise UserError("--until-decided: the study states no hypotheses to decide; add some, or drop the option")
    return replace(
        work,
        document=replace(work.document, title=f"{work.document.title} at most, until the claims are decided"),
        definition={**plan.definition, "seeds": first, "sequential": asdict(rule)},
        row={**work.row, "seeds": first, "sequential": True},
        source=lambda desk: Blocks(plan, first, rule, desk),
    )


class Blocks(Queue):
    """The source of the trials: a queue that is filled again until the claims are decided."""

    def __init__(self, plan: Plan, first: list[int], rule: Rule, desk: Desk) -> None:
        if desk.judge is None:
            raise TypeError("adding seeds until the claims are decided needs a judge")
        desk.check(plan.trials)
        super().__init__([], desk.limits)
        self._plan, self._rule, self._judge, self._desk = plan, rule, desk.judge, desk
        studies = ledger.fold(ledger.read(desk.folder)).studies
        ran = {seed for row in studies for seed in row["seeds"]}  # a new revision's row starts anew
        self._seeds = [seed for seed in plan.study.seed_list if seed in {*first, *ran}]
        self._over = False
        self._record_seeds()
        self._add(self._seeds)
        self._refill()

    @property
    def finished(self) -> bool:
        """No more work will come: the claims are decided, or no seeds, time or trials are left."""
        return super().finished and (self._over or not self.empty)

    def next(self) -> Job | None:
        """The next attempt; after the last one of a block, the claims are looked at."""
        self._refill()
        return super().next()

    def _refill(self) -> None:
        while self.empty and not self._over:
            left = [seed for seed in self._plan.study.seed_list if seed not in self._seeds]
            if self._is_decided() or not left or self.closed:
                self._over = True
                return
            block = left[: self._rule.block]
            self._seeds = [*self._seeds, *block]
            self._record_seeds()
            self._add(block)

    def _is_decided(self) -> bool:
        look: dict[str, Any] = {"event": "look", "seeds": self._seeds, **self._judge(self._desk.folder)}
        looks = [row for row in ledger.read(self._desk.folder) if row["event"] == "look"]
        if not looks or {**looks[-1], "time": 0} != {**look, "time": 0}:
            self._desk.record(look)
        return bool(look["decided"])

    def _record_seeds(self) -> None:
        study = ledger.fold(ledger.read(self._desk.folder)).study
        if study is None or study["seeds"] != self._seeds:
            self._desk.redefine({"seeds": self._seeds})

    def _add(self, seeds: list[int]) -> None:
        due = self._due()
        self._desk.expect(len(due))
        self.add(self._desk.jobs(trial for trial in due if trial.seed in seeds))

    def _due(self) -> list[Trial]:
        """The trials of all seeds so far, without those of arms that rested when a seed was added."""
        blocks = looks.blocks(ledger.read(self._desk.folder))
        return [
            trial
            for trial in self._plan.trials
            if trial.seed in self._seeds and not looks.rests(blocks, trial.arm, trial.levels, trial.seed)
        ]
