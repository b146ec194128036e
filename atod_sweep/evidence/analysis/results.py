"""What a run left behind, as records: the study, its trials, and the cells that are missing.

Identity is read from the ledger's rows, never from names of files or trials.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from atod_sweep.config.study import Bars, Hypothesis, Metric
from atod_sweep.evidence.analysis.trial_files import TrialFiles
from atod_sweep.evidence.stats.intervals import Array
from atod_sweep.records import layout
from atod_sweep.records.ledger_rows import Row, StudyRow
from atod_sweep.records.looks import Block, blocks, rests
from atod_sweep.records.metric_names import TOTALS, direction, final_set
from atod_sweep.records.metrics import MetricRow
from atod_sweep.records.score import score

Levels = dict[str, str]
# What the base student's result on final sets depends on, and what in that it does not.
_START = ("env", "student", "evaluation")
_NO_START = ("evaluation.every", "evaluation.tasks", "evaluation.retention")


@dataclass(frozen=True)
class Curve:
    """A metric of one trial against optimiser steps (or a cost so far): `x` increasing, `y` finite, both `_E`."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Trial:
    """One trial as its last ledger row tells it."""

    id: str
    arm: str
    role: str
    levels: Levels
    seed: int
    state: str
    attempt: int
    config_hash: str
    metrics: dict[str, float]
    start_metrics: dict[str, float]
    cost: dict[str, float]
    seconds: float  # of the training that its result rests on, attempts before its checkpoints included; NaN: unknown
    spent: float  # seconds of all its attempts, what was lost included, as far as the ledger knows; NaN: nothing
    error: dict[str, str] | None
    files: TrialFiles
    recorded: dict[Metric, float] = field(default_factory=dict)  # results that the ledger itself holds

    @cached_property
    def rows(self) -> list[MetricRow]:
        """Rows of the trial's metrics file, the last one of each phase and step (a resumed trial repeats some)."""
        return self.files.rows(self.id)

    @property
    def is_trained(self) -> bool:
        """Whether it is a training, and not the evaluation of a teacher or of a student before training."""
        return self.role in ("arm", "control")

    @cached_property
    def has_record(self) -> bool:
        """Whether its evaluations are here up to the last step: without them nothing is known of its way there."""
        steps = [row["step"] for row in self.rows if row["phase"] == "eval"]
        return bool(steps) and steps[-1] >= self.config.get("steps", 0)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config it ran with; empty if the file is gone."""
        return self.files.config(self.id)

    @property
    def means(self) -> dict[str, float]:
        """Means over all training steps, where rows were left out."""
        return self.files.means(self.id)

    @property
    def folder(self) -> Path:
        """Where it ran: its student lies there."""
        return layout.trial_folder(self.files.run_dir, self.id)

    def points(self, key: str, phase: str = "train", x: str = "step") -> dict[int, tuple[float, float]]:
        """Step -> (x, value) of `key` in the rows of one phase, finite ones only. Costs are 0 at step 0."""
        found: dict[int, tuple[float, float]] = {}
        for row in self.rows:
            at, value = row.get(x, 0.0 if row["step"] == 0 else None), row.get(key)
            if row["phase"] == phase and is_finite(at) and is_finite(value):
                found[row["step"]] = (at, value)
        return found

    def curve(self, key: str, phase: str = "train", x: str = "step") -> Curve:
        """The points as two arrays; empty if `key` was never reported."""
        table_E2 = np.array(list(self.points(key, phase, x).values()), dtype=np.float64).reshape(-1, 2)
        return Curve(table_E2[:, 0], table_E2[:, 1])

    def task_sets(self, metric: str) -> int:
        """On how many final task sets the ledger has the metric by itself."""
        return next(k for k in itertools.count() if final_set(metric, k) not in self.metrics)

    def score(self, metric: Metric) -> float | None:
        """Its result: the mean of the metric over the last `metric.last` evaluations; None if it has none.

        Only complete trials have a result: a pruned or failed one stopped earlier than its neighbours.
        """
        if self.state != "COMPLETE":
            return None
        if metric in self.recorded:
            return self.recorded[metric]
        totals = {f"cost/{name}": value for name, value in self.cost.items()} | self.metrics
        rows = self.rows if self.is_trained and not in_ledger(metric) else []
        return score(metric.name, metric.last, totals, rows, self.is_trained)


@dataclass(frozen=True)
class Claim:
    """A hypothesis, and whether it was written before the run started."""

    hypothesis: Hypothesis
    registered: bool


@dataclass(frozen=True)
class Study:
    """The study as the ledger defines it: the latest definition, with every hypothesis' origin."""

    name: str
    question: str
    reference: str
    metric: Metric
    sign: float  # 1 if large values of the metric are good, -1 if small ones are
    claims: tuple[Claim, ...]
    arms: tuple[str, ...]
    controls: tuple[str, ...]
    factors: dict[str, list[str]]
    seeds: tuple[int, ...]
    sequential: bool  # seeds were added by the sequential rule until the claims were decided
    bars: Bars
    rows: tuple[StudyRow, ...]

    @property
    def measure(self) -> str:
        """The metric in words: `success`, `final success`."""
        return self.metric.name.removeprefix("eval/").replace("final/", "final ")

    @property
    def latest(self) -> StudyRow:
        """The last study row, as written."""
        return self.rows[-1]


@dataclass(frozen=True)
class Missing:
    """A cell of the design without a result, and why."""

    arm: str
    levels: Levels
    seed: int
    reason: str


@dataclass(frozen=True)
class Results:
    """A run: its study and its trials. `explored`: those of a search, by whose results it chose (optimistic)."""

    folder: Path
    study: Study
    trials: tuple[Trial, ...]
    explored: tuple[Trial, ...]
    ledger: tuple[Row, ...]
    files: TrialFiles

    @property
    def arms(self) -> list[str]:
        """Arms and trained controls, in the study's order; models that are only evaluated are lines to compare with."""
        fixed = {trial.arm for trial in self.trials if not trial.is_trained} | {"teacher"}
        fixed |= {"base"} & set(self.study.controls)
        return [arm for arm in [*self.study.arms, *self.study.controls] if arm not in fixed]

    def task_sets(self, metric: str) -> int:
        """Task sets on which every trial that reports the metric tells it apart; 0 if there are none."""
        return min((t.task_sets(metric) for t in self.trials if metric in t.metrics), default=0)

    def start(self, arm: str, levels: Levels) -> float:
        """The study's metric before training: at step 0 of the arm's trials, of final metrics the base student's own.

        NaN where it was not measured.
        """
        name = self.study.metric.name
        if name.startswith("final/"):
            starts = [] if self._starts_elsewhere(arm) else self.trials
            found = [t.metrics for t in starts if t.role == "base" and matches(t.levels, levels)]
        else:
            found = [t.start_metrics for t in self.of(arm, levels)]
        values = [metrics[name] for metrics in found if name in metrics]
        return float(np.mean(values)) if values else math.nan

    def _starts_elsewhere(self, arm: str) -> bool:
        """Whether an arm has a student or final sets of its own, which the base student's result says nothing of."""
        arms = self.study.latest["definition"].get("arms", {})
        own = arms.get(arm, {}) if isinstance(arms, dict) else {}
        return any(key.startswith(_START) and key not in _NO_START for key in own)

    def fixed(self, arm: str) -> list[Trial]:
        """Evaluations of a model that the study does not train: of the teacher, or of the student before training."""
        role = "base" if arm == "base" else "teacher"
        return [trial for trial in self.trials if trial.role == role]

    @property
    def conditions(self) -> list[Levels]:
        """Every combination of factor levels; one empty one without factors."""
        factors = self.study.factors
        return [dict(zip(factors, levels, strict=True)) for levels in itertools.product(*factors.values())]

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds of the design and any further ones that the ledger holds."""
        return sorted({*self.study.seeds, *(trial.seed for trial in self.trials if trial.is_trained)})

    @cached_property
    def _cells(self) -> dict[tuple[str, tuple[tuple[str, str], ...], int], Trial]:
        return {(t.arm, tuple(sorted(t.levels.items())), t.seed): t for t in self.trials}

    def find(self, arm: str, levels: Levels, seed: int) -> Trial | None:
        """The trial of one cell, or None if it never started."""
        return self._cells.get((arm, tuple(sorted(levels.items())), seed))

    def of(self, arm: str, levels: Levels) -> list[Trial]:
        """The trials of an arm at the given levels (all of them where `levels` leaves a factor open), by seed."""
        found = [t for t in self.trials if t.arm == arm and matches(t.levels, levels)]
        return sorted(found, key=lambda t: t.seed)

    @cached_property
    def _blocks(self) -> list[Block]:
        return blocks(self.ledger)

    def rests(self, arm: str, levels: Levels, seed: int) -> bool:
        """Whether a cell was left out for good: when its seed was added, every claim about its arm was decided."""
        return self.find(arm, levels, seed) is None and rests(self._blocks, arm, levels, seed)

    @cached_property
    def cells(self) -> list[tuple[str, Levels, int]]:
        """Every cell of arms and trained controls that the design asks for: arm, levels, seed."""
        every = itertools.product(self.arms, self.conditions, self.seeds)
        return [cell for cell in every if not self.rests(*cell)]

    def missing(self) -> list[Missing]:
        """Cells of arms and trained controls without a result for the study's metric."""
        return [
            Missing(arm, levels, seed, reason)
            for arm, levels, seed in self.cells
            if (reason := self.why_missing(arm, levels, seed, self.study.metric))
        ]

    def why_missing(self, arm: str, levels: Levels, seed: int, metric: Metric) -> str | None:
        """The reason why a cell has no result; None if it has one."""
        trial = self.find(arm, levels, seed)
        if trial is None:
            return "not run"
        if trial.score(metric) is not None:
            return None
        if trial.state == "COMPLETE":
            known = in_ledger(metric) or not trial.is_trained or trial.has_record
            return f"no {metric.name}" if known else "no record"
        status = (trial.error or {}).get("status", "")
        return f"{trial.state.lower()}: {status}" if status else trial.state.lower()


def in_ledger(metric: Metric) -> bool:
    """Whether a trial's result for this metric stands in the ledger, if anywhere; others need the trial's record."""
    return metric.last == 1 and metric.name.startswith(TOTALS)


def trainers(results: Results) -> dict[str, list[str]]:
    """Kind of trainer -> the arms that it trained, as far as the trials' configs are here."""
    found: dict[str, list[str]] = {}
    for trial in results.trials:
        if trial.is_trained and trial.config:
            arms = found.setdefault(trial.config.get("trainer", {"kind": "atod"})["kind"], [])
            if trial.arm not in arms:
                arms.append(trial.arm)
    return found


def unrecorded(results: Results) -> tuple[list[Trial], list[Trial]]:
    """The trained trials that are complete, and those among them whose records are not here."""
    done = [t for t in results.trials if t.state == "COMPLETE" and t.is_trained]
    return done, [trial for trial in done if not trial.has_record]


def matches(levels: Levels, wanted: Levels) -> bool:
    """True if no factor of `wanted` is at another level; factors that `levels` lacks do not speak against it."""
    return all(levels.get(factor, level) == level for factor, level in wanted.items())


def label(levels: Levels) -> str:
    """`horizon=long, task=a`; empty without levels."""
    return ", ".join(f"{factor}={level}" for factor, level in levels.items())


def sign_of(metric: str) -> float:
    """What to multiply values of a metric by so that large ones are good."""
    return -1.0 if direction(metric) == "min" else 1.0


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a value of a row is a number that can be reckoned with."""
    return isinstance(value, int | float) and math.isfinite(value)
