"""Numbers from learning curves. `_E` evaluations. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def area(x_E: ArrayLike, y_E: ArrayLike) -> float:
    """Mean height of the curve over its range of x (trapezoid rule): a constant curve's area is its value.

    NaN below two points. Raises ValueError unless x increases.
    """
    x, y = np.asarray(x_E, dtype=np.float64), np.asarray(y_E, dtype=np.float64)
    if len(x) < 2:
        return math.nan
    if not (np.diff(x) > 0).all():
        raise ValueError(f"the points of a curve must increase, got {x.tolist()}")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def first_reached(x_E: ArrayLike, y_E: ArrayLike, level: float) -> float:
    """First x from which two evaluations in a row are at or above `level`; infinity if that never happens.

    One evaluation above the level may be luck: the first of many noisy ones that is lies too early. The last
    evaluation needs no follower.
    """
    x, above = np.asarray(x_E, dtype=np.float64), np.asarray(y_E, dtype=np.float64) >= level
    for i in range(len(x)):
        if above[i : i + 2].all():
            return float(x[i])
    return math.inf


def median_reached(reached_N: ArrayLike) -> float:
    """Median over seeds where infinity means "not within this run"; infinite if fewer than half got there.

    NaN without seeds, and if any is NaN. For an even number of seeds the upper of the two middle ones, so that a seed
    which never got there cannot be averaged away.
    """
    values = np.sort(np.asarray(reached_N, dtype=np.float64))  # NaN comes last
    return float(values[len(values) // 2]) if len(values) and not math.isnan(values[-1]) else math.nan
