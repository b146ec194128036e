"""What a choice of one arm costs where another is best. `_A` arms, `_S` seeds that all arms have. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.aggregate import as_table
from atod_sweep.evidence.stats.intervals import Interval


def regret(scores_AS: ArrayLike, chosen: int, level: float = 0.95) -> Interval:
    """The best arm's mean minus that of arm `chosen`, at least 0; large scores are good.

    Multiple comparisons with the best (Hsu 1984, Annals of Statistics 12): every other arm minus the chosen one has an
    interval, the level shared out among them (Bonferroni), and the regret lies between the largest of their lower
    limits and the largest of their upper ones. Arms are paired by seed; what is left after arm and seed is one spread
    for all arms (a randomised block design), so that three seeds give limits of some use. The choice must have been
    made on other data. NaN limits below two arms or seeds.

    >>> found = regret([[0.50, 0.52, 0.51], [0.61, 0.62, 0.60], [0.50, 0.51, 0.49]], chosen=0)
    >>> [round(x, 2) for x in (found.low, found.estimate, found.high)]
    [0.08, 0.1, 0.12]
    """
    table_AS = as_table(scores_AS)
    arms, seeds = table_AS.shape
    mean_A = table_AS.mean(axis=1)
    others_A = np.delete(mean_A - mean_A[chosen], chosen)
    estimate = max(0.0, float(others_A.max(initial=0.0)))
    if arms < 2 or seeds < 2:
        return Interval(estimate, math.nan, math.nan, seeds, level)
    left_AS = table_AS - mean_A[:, None] - table_AS.mean(axis=0) + table_AS.mean()
    freedom = (arms - 1) * (seeds - 1)
    error = math.sqrt(2 * float((left_AS**2).sum()) / freedom / seeds)
    half = float(stats.t.ppf(1 - (1 - level) / 2 / (arms - 1), freedom)) * error
    return Interval(
        estimate, max(0.0, float(others_A.max()) - half), max(0.0, float(others_A.max()) + half), seeds, level
    )
