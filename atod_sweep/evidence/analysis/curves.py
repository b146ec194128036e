"""Curves of several seeds together, and when they reach the teacher. `_S` seeds, `_E` evaluations, `_K` turns."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from atod_sweep.evidence.analysis.results import Levels, Results, Trial
from atod_sweep.evidence.analysis.scores import teacher_level, within
from atod_sweep.evidence.analysis.text import between
from atod_sweep.evidence.stats.curves import first_reached, median_reached
from atod_sweep.evidence.stats.intervals import Array
from atod_sweep.records.metric_names import watched

COUNTERS = ("step", "cost/env_steps", "cost/teacher_tokens", "cost/seconds")


def complete(results: Results, arm: str, levels: Levels) -> list[Trial]:
    """The arm's complete trials whose records are here: the others' curves end early and would bend a mean."""
    return [trial for trial in results.of(arm, levels) if trial.state == "COMPLETE" and trial.has_record]


def seeds_drawn(results: Results) -> str:
    """The seeds that curves rest on, `10 seeds` or `7 to 10 seeds`: an arm's complete trials that left a record."""
    counts = [len(complete(results, arm, levels)) for levels in results.conditions for arm in results.arms]
    return between(counts, "seed")


def stacked(trials: list[Trial], key: str, phase: str, x: str = "step") -> tuple[Array, Array]:
    """`x_E`, `y_SE` on the steps that all trials report; x is the mean over seeds. Empty if they share none."""
    tables = [points for trial in trials if (points := trial.points(key, phase, x))]
    steps = sorted(set.intersection(*(set(points) for points in tables))) if tables else []
    table_SE2 = np.array([[points[step] for step in steps] for points in tables]).reshape(len(tables), len(steps), 2)
    return table_SE2[..., 0].mean(axis=0) if tables else np.empty(0), table_SE2[..., 1]


def seed_curves(results: Results, arm: str, at: Levels, key: str, phase: str, x: str = "step") -> tuple[Array, Array]:
    """`stacked` curves of an arm's seeds; where `at` leaves factors open, the mean of each seed over all conditions.

    A seed that lacks the curve at one of them is left out then.
    """
    trials, conditions = complete(results, arm, at), len(within(results, at))
    if conditions == 1:
        return stacked(trials, key, phase, x)
    told = [trial for trial in trials if trial.points(key, phase, x)]
    count = Counter(trial.seed for trial in told)
    whole = [trial for trial in told if count[trial.seed] == conditions]  # by seed
    x_E, y_NE = stacked(whole, key, phase, x)
    return x_E, y_NE.reshape(len(whole) // conditions, conditions, len(x_E)).mean(axis=1) if whole else y_NE


def by_turn(trials: list[Trial], key: str, phase: str = "train") -> tuple[Array, Array]:
    """`step_E`, `value_EK` of a list that rows hold by turn, mean over seeds; NaN where no episode reached the turn."""
    cells: dict[int, list[list[float | None]]] = {}
    for trial in trials:
        for row in trial.rows:
            if row["phase"] == phase and key in row:
                cells.setdefault(row["step"], []).append(row[key])
    steps = sorted(cells)
    turns = max((len(values) for lists in cells.values() for values in lists), default=0)
    table_EK = np.full((len(steps), turns), np.nan)
    for i, step in enumerate(steps):
        for k in range(turns):
            seen = [values[k] for values in cells[step] if k < len(values) and values[k] is not None]
            table_EK[i, k] = np.mean(np.array(seen, dtype=np.float64)) if seen else np.nan
    return np.array(steps, dtype=np.float64), table_EK


@dataclass(frozen=True)
class Reached:
    """When an arm's seeds reach the teacher's level: the median over seeds by counter, infinite if most never do.

    `seeds` have a record and count; of `unknown` ones nothing is known. A median is NaN where a seed that got there
    left no such cost.
    """

    arm: str
    levels: Levels
    level: float
    seeds: int
    unknown: int
    reached: int
    median: dict[str, float]


def reach_teacher(results: Results) -> list[Reached]:
    """Every arm at every condition with a teacher: cost until two evaluations in a row are at the teacher's level.

    Nothing where no trial has a record.
    """
    metric = results.study.metric.model_copy(update={"name": watched(results.study.metric.name)})
    found = []
    for levels in results.conditions:
        level = teacher_level(results, levels, metric)
        for arm in results.arms:
            done = [trial for trial in results.of(arm, levels) if trial.state == "COMPLETE"]
            trials = complete(results, arm, levels)
            if math.isnan(level) or not done:
                continue
            firsts = [_first(trial, metric.name, level, results.study.sign) for trial in trials]
            reached = sum(math.isfinite(first["step"]) for first in firsts)
            median = {x: median_reached([first[x] for first in firsts]) for x in COUNTERS}
            found.append(Reached(arm, levels, level, len(trials), len(done) - len(trials), reached, median))
    return found if any(r.seeds for r in found) else []


def _first(trial: Trial, key: str, level: float, sign: float) -> dict[str, float]:
    """What every counter stands at where the level is reached first (from above, where less is better: `sign` -1);
    NaN for one that was not kept."""
    curve = trial.curve(key, "eval")
    step = first_reached(curve.x, sign * curve.y, sign * level)
    if math.isinf(step):
        return dict.fromkeys(COUNTERS, math.inf)
    return {x: trial.points(key, "eval", x).get(int(step), (math.nan, math.nan))[0] for x in COUNTERS}
