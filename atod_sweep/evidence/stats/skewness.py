"""Do scores lean to one side, and what does that do to Student's interval? `_C` cells: scores over seeds. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.intervals import Array, as_scores

SKEWNESS = 0.7  # pooled skewness from which scores count as skewed (and two standard errors away from 0)
SETS = 4000  # simulated data sets behind a coverage: its own error is below 0.8 points
# Percent of null studies with exponential differences in which a verdict falls, from benchmarks/coverage.md (held
# equal by a test): the paired t test at one n, the worst of 3 to 40; the sequence with a look at every seed to 40.
_FALSE_VERDICTS = {False: 12.5, True: 11.8}


def false_verdicts(sequential: bool) -> float:
    """Percent of studies in which the procedure of verdicts errs on exponential differences; 5 are allowed."""
    return _FALSE_VERDICTS[sequential]


def beyond_doubt(cells_C: Sequence[ArrayLike]) -> float:
    """The pooled skewness where it is large and not chance, else 0."""
    skewness, error = pooled_skewness(cells_C)
    return skewness if abs(skewness) > max(SKEWNESS, 2 * error) else 0.0


def coverage(residuals: ArrayLike, n: int) -> float:
    """Share of Student's 95 % intervals from `n` draws of this law (its residuals, drawn anew) that hold its mean.

    Simulated with a generator of its own, so the same numbers give the same answer.
    """
    law = as_scores(residuals)
    return _held(np.random.default_rng(0).choice(law - law.mean(), (SETS, n)), n)


def coverage_of_collapse(rate: float, drop: float, spread: float, n: int) -> float:
    """As `coverage`, of scores with sd `spread` of which a share `rate` ends `drop` lower.

    >>> [round(coverage_of_collapse(rate, 0.4, 0.03, n), 2) for rate, n in ((0.1, 10), (0.05, 10), (0.05, 20))]
    [0.67, 0.72, 0.7]
    """
    rng = np.random.default_rng(0)
    low = rng.random((SETS, n)) < rate
    return _held(rng.normal(0, spread, (SETS, n)) - drop * (low - rate), n)


def _held(draws: Array, n: int) -> float:
    """Share of the rows (all with the true mean 0) whose interval holds 0."""
    half = stats.t.ppf(0.975, n - 1) * draws.std(axis=1, ddof=1) / math.sqrt(n)
    return float((np.abs(draws.mean(axis=1)) <= half).mean())


def pooled_skewness(cells_C: Sequence[ArrayLike]) -> tuple[float, float]:
    """(skewness, its standard error under normality) of the noise within cells, all cells together.

    Unbiased third cumulants over unbiased variances to the power 1.5 (Fisher's k statistics), each averaged over cells
    with at least three seeds before dividing: few seeds per cell show no skewness by themselves, many cells do. The
    error is sqrt(sum of 6 n / ((n-1)(n-2))) / C, from the variance of k3 alone: a little too large. NaN without cells.
    """
    cells = [x_N for values in cells_C if len(x_N := as_scores(values)) >= 3]
    if not cells:
        return math.nan, math.nan
    sizes = np.array([len(x_N) for x_N in cells], dtype=np.float64)
    third = np.array([((x_N - x_N.mean()) ** 3).sum() for x_N in cells])
    k3 = sizes / ((sizes - 1) * (sizes - 2)) * third
    variance = float(np.mean([x_N.var(ddof=1) for x_N in cells]))
    error = math.sqrt((6 * sizes / ((sizes - 1) * (sizes - 2))).sum()) / len(cells)
    return (float(k3.mean()) / variance**1.5 if variance > 0 else 0.0), error
