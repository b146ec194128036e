"""Does one number rise with another? Rank correlation with an interval. `_N` pairs, `_A` arms, `_S` seeds. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.aggregate import as_table
from atod_sweep.evidence.stats.intervals import Array, Interval, as_scores

RESAMPLES = 2_000


def spearman(x_N: ArrayLike, y_N: ArrayLike) -> Interval:
    """Spearman's rank correlation with the 95 % interval of Bonett and Wright (2000, Psychometrika 65).

    atanh(r) ± z sqrt((1 + r²/2) / (N - 3)), taken back by tanh. NaN limits below four pairs; all NaN where one side
    does not vary. ValueError for values that are not finite.

    >>> found = spearman(range(10), [1, 0, 2, 4, 3, 5, 6, 8, 7, 9])
    >>> round(found.low, 2), round(found.estimate, 2), round(found.high, 2)
    (0.8, 0.96, 0.99)
    """
    x, y = as_scores(np.asarray(x_N)), as_scores(np.asarray(y_N))
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(math.nan, math.nan, math.nan, n)
    r = float(stats.spearmanr(x, y).statistic)
    if n < 4:
        return Interval(r, math.nan, math.nan, n)
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + r**2 / 2) / (n - 3))
    center = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r)))
    return Interval(r, math.tanh(center - half), math.tanh(center + half), n)


def agreement(x_AS: ArrayLike, y_AS: ArrayLike) -> Interval:
    """Rank correlation of the arms' means in two settings, and its 95 % percentile interval over resampled seeds.

    In each setting seeds are drawn with replacement, all arms together (a paired bootstrap); deviations are stretched
    by sqrt(S / (S - 1)), without which few seeds look more certain than they are. The same data give the same limits.
    NaN below three arms, NaN limits below two seeds.
    """
    tables = [as_table(x_AS), as_table(y_AS)]
    n = min(table_AS.shape[1] for table_AS in tables)
    r = float(_spearman(*(table_AS.mean(axis=1)[None] for table_AS in tables))[0]) if len(tables[0]) > 2 else math.nan
    if n < 2 or math.isnan(r):
        return Interval(r, math.nan, math.nan, n)
    rng = np.random.default_rng(0)
    found_R = _spearman(*(_resampled(table_AS, rng) for table_AS in tables))
    low, high = np.nanquantile(found_R, [0.025, 0.975])
    return Interval(r, float(low), float(high), n)


def _resampled(table_AS: Array, rng: np.random.Generator) -> Array:
    """Means of the arms over resampled seeds, `_RA`."""
    seeds = table_AS.shape[1]
    mean_A = table_AS.mean(axis=1)
    drawn_RA = table_AS[:, rng.integers(seeds, size=(RESAMPLES, seeds))].mean(axis=2).T
    return np.asarray(mean_A + math.sqrt(seeds / (seeds - 1)) * (drawn_RA - mean_A))


def _spearman(x_RA: Array, y_RA: Array) -> Array:
    """Rank correlation of every row, ties at their mean rank; NaN where one side does not vary."""
    x, y = (stats.rankdata(table, axis=1) - (table.shape[1] + 1) / 2 for table in (x_RA, y_RA))
    with np.errstate(invalid="ignore"):
        return np.asarray((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))
