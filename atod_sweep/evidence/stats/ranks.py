"""Does one number rise with another? Rank correlation with an interval. `_N` pairs. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.intervals import Interval, as_scores


def spearman(x_N: ArrayLike, y_N: ArrayLike, level: float = 0.95) -> Interval:
    """Spearman's rank correlation with the interval of Bonett and Wright (2000, Psychometrika 65).

    atanh(r) ± z sqrt((1 + r²/2) / (N - 3)), taken back by tanh. NaN limits below four pairs; all NaN where one side
    does not vary. ValueError for values that are not finite.

    >>> found = spearman(range(10), [1, 0, 2, 4, 3, 5, 6, 8, 7, 9])
    >>> round(found.low, 2), round(found.estimate, 2), round(found.high, 2)
    (0.8, 0.96, 0.99)
    """
    x, y = as_scores(np.asarray(x_N)), as_scores(np.asarray(y_N))
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(math.nan, math.nan, math.nan, n, level)
    r = float(stats.spearmanr(x, y).statistic)
    if n < 4:
        return Interval(r, math.nan, math.nan, n, level)
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((1 + r**2 / 2) / (n - 3))
    center = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r)))
    return Interval(r, math.tanh(center - half), math.tanh(center + half), n, level)
