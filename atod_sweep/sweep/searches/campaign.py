"""The source of a search's trials: configurations one after the other, each with several seeds, then the confirmation.

The ledger holds every decision in order: `configuration` (proposed), `told` (learned from), `earned` (a racing one gets
its next seed), `selection` (confirmed). A search that resumes repeats them and comes to the same state.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from atod_sweep.config.base import content_hash
from atod_sweep.config.search import EarlyStopping, Search, layers
from atod_sweep.config.space import cuts
from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger
from atod_sweep.records.ledger_rows import ConfigurationRow, TrialRow
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.searches import racing
from atod_sweep.sweep.searches.optuna_file import OptunaFile
from atod_sweep.sweep.searches.samplers import proposer
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space
from atod_sweep.sweep.searches.stopping import StoppingRule
from atod_sweep.sweep.studies.plan import Trial
from atod_sweep.sweep.trials.desk import Desk, RunLimits
from atod_sweep.sweep.trials.jobs import Attempt, Job, Row
from atod_sweep.sweep.trials.source import Queue

REFERENCE = "reference"  # the base config, confirmed beside the best
FRUITLESS = 200  # points in a row that are invalid or known already, after which the space counts as exhausted


@dataclass
class Candidate:
    """A configuration under trial. `open`: its trials that have no result yet; `numbers`: its points (twins too)."""

    arm: str
    sample: Sample
    trials: list[Trial]
    numbers: list[int]
    open: set[str] = field(default_factory=set)
    state: str | None = None
    values: list[float] | None = None


class Campaign:
    """The source of a search's jobs: the search phase, then the confirmation."""

    def __init__(self, search: Search, space: Space, starts: list[Sample], desk: Desk) -> None:
        self._search, self._space, self._desk = search, space, desk
        self._proposer = proposer(space, search, starts)
        self._queue = Queue([], RunLimits(desk.limits.max_retries))
        self._candidates: dict[str, Candidate] = {}  # by configuration hash
        self._by_trial: dict[str, Candidate] = {}
        self._asked = 0
        self._exhausted, self._selected, self._confirming = False, False, False
        self._began = time.monotonic()
        for line in cuts(space.parameters):
            desk.remark(f"parameters.{line}")
        self._file = OptunaFile(desk.folder, search, space, desk.remark)
        stopping = search.early_stopping
        self._rule = StoppingRule(stopping, search.metric) if isinstance(stopping, EarlyStopping) else None
        self._racing = search.budget.racing
        self._most_configurations, self._most_trials = self._limits()
        self._replay()
        self._began = time.monotonic()

    def _limits(self) -> tuple[int, int]:
        """The most configurations, and the most trials of the search phase."""
        budget, most = self._search.budget, self._desk.limits.max_trials
        configurations, seeds = budget.configurations, budget.seeds
        if most is None:
            return configurations, configurations * seeds
        left = most - (budget.confirm.top + 1) * budget.confirm.seeds
        if left < seeds:
            raise UserError(
                f"--max-trials {most}: the confirmation alone takes {most - left} trials and a configuration "
                f"{seeds}; allow at least {most - left + seeds}, or lower budget.confirm"
            )
        whole = left if budget.racing else left // seeds
        return min(configurations, whole), min(configurations * seeds, left)

    # ---- the source's interface

    @property
    def finished(self) -> bool:
        return self._confirming and self._queue.finished

    def next(self) -> Job | None:
        """A waiting job, else an earned one, else a new configuration's, else the confirmation's; None while results
        are due.
        """
        job = self._queue.next()
        while job is None and self._more():
            job = self._queue.next()
        if job is None and not self._confirming and not self._under_way():
            self._confirm()
            job = self._queue.next()
        return job

    def ended(self, job: Job, attempt: Attempt) -> bool:
        if self._queue.ended(job, attempt):
            return True
        candidate = self._by_trial.get(job.trial)
        if candidate is not None:
            candidate.open.discard(job.trial)
            if attempt.pruned:  # its other seeds need not start
                candidate.open -= self._queue.drop(candidate.open)
            if not candidate.open:
                self._settle(candidate)
        return False

    def should_stop(self, job: Job, rows: list[Row]) -> bool:
        return self._rule is not None and job.trial in self._by_trial and self._rule.add(job.trial, job.config, rows)

    # ---- the search phase

    def _more(self) -> bool:
        """Queue another seed of a racing configuration, else a new configuration; False if there is neither now."""
        earner = self._earner()
        if earner is not None:
            seed = len(earner.trials)
            self._desk.record({"event": "earned", "arm": earner.arm, "seed": seed})
            self._queue.add([self._desk.job(self._grow(earner))])
        elif self._may_ask():
            self._ask(None)
        else:
            return False
        return True

    def _may_ask(self) -> bool:
        full = len(self._candidates) >= self._most_configurations
        return not self._exhausted and not full and self._may_start()

    def _may_start(self) -> bool:
        """Whether the search phase has a trial and the time for it left."""
        trials = sum(len(candidate.trials) for candidate in self._candidates.values())
        if self._selected or self._confirming or trials >= self._most_trials:
            return False
        budget = self._desk.limits.time_budget
        return budget is None or time.monotonic() - self._began + self._seconds_to_confirm() < budget

    def _under_way(self) -> set[str]:
        return {candidate.arm for candidate in self._candidates.values() if candidate.open}

    def _earner(self) -> Candidate | None:
        if self._racing is None or not self._may_start():
            return None
        known = {c.arm: self._scores(c) for c in self._candidates.values() if c.state != "FAIL"}
        scores = {arm: own for arm, own in known.items() if own}
        arm = racing.earner(scores, self._racing.max_seeds, self._racing.level, self._under_way())
        return self._of_arm(arm) if arm else None

    def _scores(self, candidate: Candidate) -> list[float]:
        """By seed, so that large is good."""
        rows = [self._desk.latest[trial.id] for trial in candidate.trials if self._desk.is_finished(trial)]
        return [self._search.metric.sign * score for row in rows if (score := row.get("score")) is not None]

    def _grow(self, candidate: Candidate) -> Trial:
        trial = _trial(candidate.arm, candidate.sample, len(candidate.trials), "search")
        candidate.trials.append(trial)
        candidate.open.add(trial.id)
        self._by_trial[trial.id] = candidate
        return trial

    def _seconds_to_confirm(self) -> float:
        times = [row["seconds"] for row in self._desk.latest.values() if row["state"] == "COMPLETE"]
        confirm, width = self._search.budget.confirm, self._desk.at_a_time
        return statistics.fmean(times) * (confirm.top + 1) * confirm.seeds / width if times else 0.0

    def _ask(self, recorded: ConfigurationRow | None) -> None:
        """Take the next new point from the proposer; invalid ones and twins are dealt with on the way."""
        for _ in range(FRUITLESS):
            point = self._proposer.ask()
            if point is None:
                break
            number, self._asked = self._asked, self._asked + 1
            if isinstance(point, Infeasible):
                self._proposer.tell(number, "FAIL", None)
                continue
            twin = self._candidates.get(point.hash)
            if twin is None:
                self._begin(point, number, recorded)
                return
            twin.numbers.append(number)
            if twin.state is not None:
                self._proposer.tell(number, twin.state, twin.values)
        self._exhausted = True

    def _begin(self, sample: Sample, number: int, recorded: ConfigurationRow | None) -> None:
        arm = f"c{len(self._candidates):03d}"
        if recorded is None:
            row = {"event": "configuration", "arm": arm, "configuration": sample.hash, "number": number}
            self._desk.record({**row, "params": sample.params, "values": sample.values})
        elif recorded["configuration"] != sample.hash:
            raise UserError(
                f"{self._desk.folder}: the sampler proposes another {arm} than the ledger records: another version "
                "of Optuna or numpy? Install the versions that the ledger names, or start anew with --name"
            )
        candidate = self._candidates[sample.hash] = Candidate(arm, sample, [], [number])
        trials = [self._grow(candidate) for _ in range(1 if self._racing else self._search.budget.seeds)]
        if recorded is None:
            self._queue.add(self._desk.job(trial) for trial in trials)

    def _settle(self, candidate: Candidate) -> None:
        """Learn from a configuration whose trials have ended, unless its next seed is due."""
        state, values = self._result(candidate)
        if state != "FAIL" and self._earner() is candidate:
            return
        if (state, values) != (candidate.state, candidate.values):
            self._desk.record({"event": "told", "arm": candidate.arm, "state": state, "values": values})
            self._learn(candidate, state, values)

    def _result(self, candidate: Candidate) -> tuple[str, list[float] | None]:
        """How its trials ended, and their mean per objective."""
        rows = self._rows(candidate)
        states = {row["state"] for row in rows}
        state = "FAIL" if "FAILED" in states else "PRUNED" if "PRUNED" in states else "COMPLETE"
        wanted = ["score", *(["second"] if self._search.second else [])]
        table = [[row.get(key) for row in rows] for key in wanted]
        if state != "FAIL" and all(value is not None for column in table for value in column):
            return state, [statistics.fmean(column) for column in table]  # type: ignore[arg-type]
        return ("FAIL" if state == "COMPLETE" else state), None

    def _rows(self, candidate: Candidate) -> list[TrialRow]:
        return [self._desk.latest[t.id] for t in candidate.trials if t.id in self._desk.latest]

    def _learn(self, candidate: Candidate, state: str, values: list[float] | None) -> None:
        """The sampler learns of a configuration once, a racing one when it first rests."""
        first = candidate.state is None
        candidate.state, candidate.values = state, values
        candidate.open.clear()
        if not first:
            return
        for number in candidate.numbers:
            self._proposer.tell(number, state, values)
        if self._racing is None:
            self._file.add(candidate.arm, candidate.sample, state, values, self._rows(candidate))

    # ---- resuming

    def _replay(self) -> None:
        """Repeat the decisions in the ledger, then queue what was under way."""
        for row in ledger.read(self._desk.folder):
            if row["event"] == "configuration":
                self._take_up(row)
            elif row["event"] == "told":
                self._learn(self._of_arm(row["arm"]), row["state"], row["values"])
            elif row["event"] == "earned":
                self._grow(self._of_arm(row["arm"]))
            elif row["event"] == "selection" and row["definition_hash"] == self._desk.definition_hash:
                self._selected = True  # its time was up
        for candidate in self._candidates.values():
            for trial in candidate.trials:
                self._recall(trial)
            if candidate.state in (None, "COMPLETE"):
                left = self._left(candidate)
                candidate.open = {trial.id for trial in left}
                self._queue.add(map(self._desk.job, left))
        for candidate in self._candidates.values():
            if candidate.state in (None, "COMPLETE") and not candidate.open:
                self._settle(candidate)
        if not self._may_ask() and self._earner() is None and not self._under_way():
            self._confirm()

    def _left(self, candidate: Candidate) -> list[Trial]:
        """Its trials without a result; of those that had not begun when another one was pruned, none starts."""
        left = [trial for trial in candidate.trials if not self._desk.is_finished(trial)]
        if any(row["state"] == "PRUNED" for row in self._rows(candidate)):
            return [trial for trial in left if trial.id in self._desk.latest]
        return left

    def _of_arm(self, arm: str) -> Candidate:
        return next(candidate for candidate in self._candidates.values() if candidate.arm == arm)

    def _take_up(self, row: ConfigurationRow) -> None:
        """A recorded configuration: the proposer is asked for it again, or takes it back where its draws may differ."""
        sample = self._proposer.recall(row["number"], row["params"])
        if sample is None:
            self._ask(row)
        else:
            self._asked = row["number"] + 1
            self._begin(sample, row["number"], row)

    def _recall(self, trial: Trial) -> None:
        if self._rule is not None:
            rows = read_metrics(layout.trial_folder(self._desk.folder, trial.id) / layout.METRICS)
            if rows:
                self._rule.add(trial.id, trial.config, rows)

    # ---- the confirmation

    def _confirm(self) -> None:
        self._confirming = True
        for candidate in self._candidates.values() if self._racing else ():
            self._settle(candidate)  # nobody earns any more
            self._file.add(candidate.arm, candidate.sample, *self._result(candidate), self._rows(candidate))
        confirm = self._search.budget.confirm
        best = self._ranked()[: confirm.top]
        searched = sum(t.id in self._desk.latest for c in self._candidates.values() for t in c.trials)  # not dropped
        seeds = list(range(confirm.first_seed, confirm.first_seed + confirm.seeds))
        self._desk.expect(searched + (len(best) + 1) * len(seeds) if best else searched)
        if not best:
            return
        arms = {REFERENCE: Sample({}, {}, self._space.base), **{c.arm: c.sample for c in best}}
        study = ledger.fold(ledger.read(self._desk.folder)).study  # a new revision's row has no selection yet
        same = {"arms": list(arms), "seeds": seeds, "definition_hash": self._desk.definition_hash}
        if study is None or not same.items() <= study.items():
            chosen = [
                {"arm": c.arm, "configuration": c.sample.hash, "values": c.sample.values, "score": c.values}
                for c in best
            ]
            self._desk.record({"event": "selection", "top": chosen, **same})
            self._desk.redefine({"arms": list(arms), "seeds": seeds})
        trials = [_trial(arm, sample, seed, "confirm") for seed in seeds for arm, sample in arms.items()]
        self._queue.add(self._desk.jobs(trials))

    def _ranked(self) -> list[Candidate]:
        """Complete configurations other than the base, best first; with two objectives, front by front."""
        base = Sample({}, {}, self._space.base).hash
        complete = [c for c in self._candidates.values() if c.state == "COMPLETE" and c.sample.hash != base]
        if self._racing:
            return [self._of_arm(arm) for arm in racing.ranked({c.arm: self._scores(c) for c in complete})]
        signs = [objective.sign for objective in self._search.objectives]
        scores = {c.arm: tuple(s * v for s, v in zip(signs, c.values or (), strict=True)) for c in complete}
        fronts = layers(scores)
        return sorted(complete, key=lambda c: (fronts[c.arm], -scores[c.arm][0]))


def _trial(arm: str, sample: Sample, seed: int, phase: Any) -> Trial:
    config = {**sample.config, "seed": seed}
    if phase == "search":  # what a search chooses by shall not have been seen by it
        config["evaluation"] = {key: value for key, value in config["evaluation"].items() if key != "final"}
    return Trial(f"{arm}-s{seed}", arm, "arm", {}, seed, config, content_hash(config), sample.hash, phase)
