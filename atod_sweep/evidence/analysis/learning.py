"""Which settings learn at all: where no arm does, a difference between arms says nothing about the method."""

from __future__ import annotations

import math

import numpy as np

from atod_sweep.evidence.analysis.results import Levels, Results, sign_of
from atod_sweep.evidence.analysis.text import number
from atod_sweep.records.metric_names import bounds, unit, watched

SUCCESS = "eval/success"


def gain(results: Results, levels: Levels, metric: str = SUCCESS) -> float:
    """The best arm's (or trained control's) mean gain over step 0 at one condition; NaN if none has any.

    Of a final metric it is the gain of the same metric in evaluations, which begin at step 0. Of a share of episodes:
    as a part of what was left to gain. Of another metric: in its units and its good direction.
    """
    gains, metric = [], watched(metric)
    for arm in results.arms:
        ends = [
            (t.start_metrics[metric], t.metrics[metric])
            for t in results.of(arm, levels)
            if t.state == "COMPLETE" and metric in t.metrics and metric in t.start_metrics
        ]
        grown = [
            sign_of(metric) * (end - start) / _left(metric, start) for start, end in ends if _left(metric, start) > 0
        ]
        gains += [float(np.mean(grown))] if grown else []
    return max(gains, default=math.nan)


def _left(metric: str, start: float) -> float:
    limits = bounds(metric)
    return limits[1] - start if limits else 1.0


def bar(results: Results, metric: str = SUCCESS) -> str:
    """What an arm must show, in words; empty where the study sets no bar for the metric."""
    metric = watched(metric)
    wanted = results.study.bars.learning.get(metric)
    if wanted is None:
        return ""
    if bounds(metric):
        return f"{100 * wanted:.3g} % of the {metric.partition('/')[2]} that was left to gain at step 0"
    return f"{number(wanted, 3)} {unit(metric) or metric} over step 0"


def not_learning(results: Results, metric: str = SUCCESS) -> list[Levels]:
    """The conditions in which no arm gained enough; one without results may yet learn, and without a bar all do."""
    wanted = results.study.bars.learning.get(watched(metric))
    if wanted is None:
        return []
    return [levels for levels in results.conditions if gain(results, levels, metric) < wanted - 1e-9]
