"""Which settings learn at all: where no arm does, a difference between arms says nothing about the method."""

from __future__ import annotations

import math

import numpy as np

from atod_sweep.evidence.analysis.results import Levels, Results

SUCCESS = "eval/success"
LEARNING = 0.15  # gain in success over step 0 that the best arm of a setting must show


def gain(results: Results, levels: Levels) -> float:
    """The best arm's (or trained control's) mean gain in success over step 0 at one condition; NaN if none has any."""
    gains = []
    for arm in results.arms:
        done = [t for t in results.of(arm, levels) if t.state == "COMPLETE"]
        grown = [t.metrics[SUCCESS] - t.start_metrics[SUCCESS] for t in done if _is_known(t.metrics, t.start_metrics)]
        gains += [float(np.mean(grown))] if grown else []
    return max(gains, default=math.nan)


def _is_known(*sides: dict[str, float]) -> bool:
    return all(SUCCESS in metrics for metrics in sides)


def not_learning(results: Results) -> list[Levels]:
    """The conditions in which no arm gained enough; one without results may yet learn."""
    return [levels for levels in results.conditions if gain(results, levels) < LEARNING - 1e-9]
