"""The control `tuned_constant`: the base with the best of a few constant weights of the teacher.

It is chosen before anything else runs, by trials on seeds of its own (their phase is `search`, as in a search), so that
its own trials are as fresh as any arm's. The choice is a `selection` row of the ledger, which a resumed run keeps to.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash
from atod_sweep.config.study import Control, Study
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.metric_names import direction, watched
from atod_sweep.sweep.studies.controls import CONTROLS, constant_weight
from atod_sweep.sweep.studies.plan import Plan, Trial, resolve
from atod_sweep.sweep.trials.desk import Desk
from atod_sweep.sweep.trials.jobs import Attempt, Job, Row
from atod_sweep.sweep.trials.source import Queue, Source
from atod_sweep.sweep.work import Work

NAME: Control = "tuned_constant"
WEIGHTS = (0.1, 0.2, 0.4)
SEEDS = [1_000_000_000, 1_000_000_001]  # far from those of any study
KEY = "objective.distill_weight"

Then = Callable[[Plan], Callable[[Desk], Source]]


@dataclass(frozen=True)
class Candidate:
    """A weight at one combination of factor levels: the trials that it is judged by, and those that it would have."""

    weight: float
    tried: tuple[Trial, ...]
    trials: tuple[Trial, ...]


def candidates(study: Study, folder: Path, where: str) -> dict[str, list[Candidate]]:
    """The weights to choose from, by combination of levels. UserError if the base has no such weight."""
    if both := sorted({*SEEDS} & {*study.seed_list}):
        raise UserError(f"{where}: seeds: {both[0]} is one that {NAME} is chosen on; use others")
    found: dict[str, list[Candidate]] = {}
    for weight in WEIGHTS:
        made = CONTROLS | {NAME: partial(constant_weight, weight=weight)}
        own, tried = (
            [t for t in resolve(one, folder, where, made).trials if t.arm == NAME]
            for one in (study, study.model_copy(update={"seeds": SEEDS}))
        )
        for levels in dict.fromkeys(_levels(trial) for trial in own):
            found.setdefault(levels, []).append(
                Candidate(
                    weight,
                    tuple(_tried(trial, weight) for trial in tried if _levels(trial) == levels),
                    tuple(trial for trial in own if _levels(trial) == levels),
                )
            )
    return found


def _levels(trial: Trial) -> str:
    return "~".join(trial.levels.values())


def _tried(trial: Trial, weight: float) -> Trial:
    arm = f"{NAME}_at_{weight:g}"
    name = trial.id.replace(NAME, arm, 1)
    same = content_hash({key: value for key, value in trial.config.items() if key != "seed"})
    return replace(trial, id=name, arm=arm, configuration=same, phase="search")


def chosen_first(work: Work, plan: Plan, found: dict[str, list[Candidate]], then: Then) -> Work:
    """The study's work, with the choice before it; `then` makes the source of a plan's trials."""
    every = [candidate for options in found.values() for candidate in options]
    tried = [trial.config for candidate in every for trial in candidate.tried]
    own = [trial.config for options in found.values() for trial in options[0].trials]
    return replace(
        work,
        definition={**work.definition, "tuned": {"weights": list(WEIGHTS), "seeds": SEEDS}},
        configs=(*tried, *work.configs, *own),
        total=len(tried) + work.total + len(own),
        source=lambda desk: Tuned(plan, found, desk, then),
    )


class Tuned:
    """The source: the trials that the choice is made by, then whatever the study does, with the chosen trials."""

    def __init__(self, plan: Plan, found: dict[str, list[Candidate]], desk: Desk, then: Then) -> None:
        self._plan, self._found, self._desk, self._then = plan, found, desk, then
        self._began, self._started = time.monotonic(), set[str]()
        self._chosen = {
            row["top"][0]["levels"]: row["top"][0]["values"][KEY]
            for row in ledger.read(desk.folder)
            if row["event"] == "selection"
        }
        self._tried = [trial for options in found.values() for candidate in options for trial in candidate.tried]
        desk.check(self._tried)
        open_ = [options for levels, options in found.items() if levels not in self._chosen]
        trials = [trial for options in open_ for candidate in options for trial in candidate.tried]
        self._queue = Queue(desk.jobs(trials), desk.limits)
        self._main: Source | None = None
        self._go_on()

    # ---- the source's interface

    @property
    def finished(self) -> bool:
        return self._now.finished

    def next(self) -> Job | None:
        job = self._now.next()
        if job is not None:
            self._started.add(job.trial)
        return job

    def ended(self, job: Job, attempt: Attempt) -> bool:
        """As in a queue; after the last one of the choice, it is made."""
        again = self._now.ended(job, attempt)
        self._go_on()
        return again

    def should_stop(self, job: Job, rows: list[Row]) -> bool:
        return False

    @property
    def _now(self) -> Source:
        return self._main or self._queue

    # ---- the choice

    def _go_on(self) -> None:
        if self._main is None and self._queue.empty:
            chosen = [trial for levels, options in self._found.items() for trial in self._choice(levels, options)]
            seeds = self._plan.study.seed_list
            trials = sorted([*self._plan.trials, *chosen], key=lambda trial: seeds.index(trial.seed))
            self._main = self._then(replace(self._plan, trials=tuple(trials)))(self._what_is_left())

    def _choice(self, levels: str, options: list[Candidate]) -> tuple[Trial, ...]:
        """The trials of the weight that is best at these levels; none if no weight has a result."""
        if levels not in self._chosen:
            sign = -1.0 if direction(self._plan.study.metric.name) == "min" else 1.0
            scores = {c.weight: statistics.fmean(s) for c in options if (s := self._scores(c))}
            if not scores:
                self._desk.remark(f"{NAME}: none of its weights has a result, so it is left out")
                return ()
            best = max(scores, key=lambda weight: sign * scores[weight])
            self._chosen[levels] = best
            top = {"arm": NAME, "levels": levels, "values": {KEY: best}, "score": scores[best]}
            row: dict[str, Any] = {"event": "selection", "top": [top], "arms": [NAME], "seeds": SEEDS}
            self._desk.record({**row, "definition_hash": self._desk.definition_hash})
        return next(c.trials for c in options if c.weight == self._chosen[levels])

    def _scores(self, candidate: Candidate) -> list[float]:
        """Nothing is chosen by final sets: of a metric of theirs, the same of the last evaluation counts."""
        name = self._plan.study.metric.name
        rows = [self._desk.latest[trial.id] for trial in candidate.tried if self._desk.is_finished(trial)]
        if name.startswith("final/"):
            found = [(row.get("metrics") or {}).get(watched(name)) for row in rows]
        else:
            found = [row.get("score") for row in rows]
        return [score for score in found if score is not None]

    def _what_is_left(self) -> Desk:
        """The desk of what follows: less time, fewer trials, and totals that count those of the choice."""
        limits = self._desk.limits
        if limits.max_trials is not None:
            limits = replace(limits, max_trials=max(0, limits.max_trials - len(self._started)))
        if limits.time_budget is not None:
            limits = replace(limits, time_budget=limits.time_budget - (time.monotonic() - self._began))
        return replace(self._desk, limits=limits, expect=lambda total: self._desk.expect(total + len(self._tried)))
