"""Methods across tasks in the shape of the published tables: a column per task, and one number over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atod_sweep.evidence.analysis.aggregates import complete_table
from atod_sweep.evidence.analysis.comparisons import Comparison, compare, summarise
from atod_sweep.evidence.analysis.results import Levels, Results
from atod_sweep.evidence.analysis.scores import teacher_level
from atod_sweep.evidence.stats.aggregate import IQM, linearised
from atod_sweep.evidence.stats.intervals import Interval

TEACHER, BASE = "teacher", "base student"


@dataclass(frozen=True)
class Method:
    """One row: results by task (condition), their mean, their interquartile mean, and the difference to the teacher.

    `gains` (by task) and `gain` (over all) are paired differences to the teacher; None for the teacher, the student
    before training, and where there is no teacher.
    """

    name: str
    role: str
    scores: list[Interval]
    mean: float
    iqm: Interval
    gains: list[Comparison] | None
    gain: Comparison | None


def methods(results: Results) -> list[Method]:
    """Student before training, teacher, controls, arms; empty unless there are two tasks or more."""
    if len(results.conditions) < 2:
        return []
    controls = [arm for arm in results.arms if arm in results.study.controls]
    arms = [arm for arm in results.arms if arm not in controls]
    found = [_fixed(BASE, [_start(results, levels) for levels in results.conditions])]
    teacher = [teacher_level(results, levels, results.study.metric) for levels in results.conditions]
    found.append(_fixed(TEACHER, teacher))
    has_teacher = not np.isnan(teacher).any()
    rows = found + [_trained(results, arm, has_teacher) for arm in [*controls, *arms]]
    return [m for m in rows if not all(np.isnan(s.estimate) for s in m.scores)]


def _start(results: Results, levels: Levels) -> float:
    starts = [s for arm in results.arms if not np.isnan(s := summarise(results, arm, levels).start)]
    return float(np.mean(starts)) if starts else np.nan


def _fixed(name: str, scores: list[float]) -> Method:
    nothing = Interval(np.nan, np.nan, np.nan, 0)
    iqm = nothing if np.isnan(scores).any() else linearised(np.array([scores]), IQM)
    return Method(name, name, [Interval(x, np.nan, np.nan, 1) for x in scores], float(np.mean(scores)), iqm, None, None)


def _trained(results: Results, arm: str, has_teacher: bool) -> Method:
    metric, table_ST = results.study.metric, complete_table(results, arm)
    nothing = Interval(np.nan, np.nan, np.nan, 0)
    return Method(
        name=arm,
        role="control" if arm in results.study.controls else "arm",
        scores=[summarise(results, arm, levels).interval for levels in results.conditions],
        mean=np.nan if table_ST is None else float(table_ST.mean()),
        iqm=nothing if table_ST is None else linearised(table_ST, IQM),
        gains=[compare(results, arm, TEACHER, c, metric) for c in results.conditions] if has_teacher else None,
        gain=compare(results, arm, TEACHER, {}, metric) if has_teacher else None,
    )
