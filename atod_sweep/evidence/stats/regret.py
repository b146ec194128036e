"""What a choice of one arm costs where another is best. `_A` arms, `_S` seeds that all arms have. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.aggregate import as_table
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.procedures import resolution


def regret(scores_AS: ArrayLike, chosen: int, tasks: int | None = None) -> Interval:
    """The best arm's mean minus that of arm `chosen`, at least 0; large scores are good.

    Multiple comparisons with the best (Hsu 1984, Annals of Statistics 12): every other arm minus the chosen one has an
    interval, 5 % shared out among them (Bonferroni), and the regret lies between the largest of their lower
    limits and the largest of their upper ones. Arms are paired by seed; what is left after arm and seed is one spread
    for all arms (a randomised block design), so that three seeds give limits of some use; no less than scores over
    `tasks` outcomes of 0 or 1 can have (`procedures.resolution`). The choice must have been made on other data. NaN
    limits below two arms or seeds.

    >>> found = regret([[0.50, 0.52, 0.51], [0.61, 0.62, 0.60], [0.50, 0.51, 0.49]], chosen=0)
    >>> [round(x, 2) for x in (found.low, found.estimate, found.high)]
    [0.08, 0.1, 0.12]
    """
    table_AS = as_table(scores_AS)
    arms, seeds = table_AS.shape
    gaps_AS = np.delete(table_AS - table_AS[chosen], chosen, axis=0)
    gap_A = gaps_AS.mean(axis=1)
    estimate = max(0.0, float(gap_A.max(initial=0.0)))
    if arms < 2 or seeds < 2:
        return Interval(estimate, math.nan, math.nan, seeds)
    left_AS = table_AS - table_AS.mean(axis=1, keepdims=True) - table_AS.mean(axis=0) + table_AS.mean()
    freedom = (arms - 1) * (seeds - 1)
    spread = math.sqrt(2 * float((left_AS**2).sum()) / freedom)
    spread_A = np.array([max(spread, resolution(gap_S, tasks) if tasks else 0.0) for gap_S in gaps_AS])
    half_A = stats.t.ppf(1 - 0.05 / 2 / (arms - 1), freedom) * spread_A / math.sqrt(seeds)
    low, high = (max(0.0, float((gap_A + side).max())) for side in (-half_A, half_A))
    return Interval(estimate, low, high, seeds)
