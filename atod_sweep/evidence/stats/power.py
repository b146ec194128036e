"""What so many seeds can show, and what pairing saves. `_N` seeds. Pure."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from atod_sweep.evidence.stats.intervals import as_scores

_FARTHEST = 20  # two seeds' sd is below a twentieth of the truth in 4 % of samples: no power of 90 % needs more


def _beyond(critical: float, df: int, shift: float) -> float:
    """P(noncentral t > critical), as the mean of P(Z + shift > critical * sd) over quantiles of the sample's sd.

    scipy.stats.nct gives NaN for few degrees of freedom and large shifts, which is the case of two or three seeds.
    """
    sd_Q = np.sqrt(stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, df) / df)
    return float(stats.norm.cdf(shift - critical * sd_Q).mean())


@cache
def _shift(critical: float, df: int, wanted: float) -> float:
    """The shift at which `_beyond` has the wanted power; many claims ask for the same."""
    return float(optimize.brentq(lambda shift: _beyond(critical, df, shift) - wanted, 0, _FARTHEST * critical + 10))


def minimum_detectable(spread: float, n: int, critical: float, wanted: float = 0.8) -> float:
    """Least true mean beyond a bound that `n` seeds show with power `wanted`: P(noncentral t > critical) = wanted.

    `critical`: half width of the test's interval in standard errors, 2.26 for Student's of ten seeds. Infinite where
    that is; NaN below two seeds. Checked by the test against the tables of Cohen (1988).
    """
    if n < 2 or math.isinf(critical):
        return math.nan if n < 2 else math.inf
    return _shift(critical, n - 1, wanted) * spread / math.sqrt(n)


def smallest_margin(spread: float, n: int, critical: float, wanted: float = 0.8) -> float:
    """Least margin within which `n` seeds show equality with power `wanted` if there is no difference at all.

    `critical` as above, of the interval at twice the error (1.83 for Student's of ten seeds): each of the two one-sided
    tests may fail with half of what is left.
    """
    return minimum_detectable(spread, n, critical, (1 + wanted) / 2)


def variance_removed(a_N: ArrayLike, b_N: ArrayLike) -> float:
    """Share of the variance of mean(a) - mean(b) that common seeds take away: 1 - var(a - b) / (var(a) + var(b)).

    Negative where pairing hurts; NaN below two seeds or without variance.
    """
    a, b = as_scores(a_N), as_scores(b_N)
    if len(a) < 2 or (total := a.var(ddof=1) + b.var(ddof=1)) == 0:
        return np.nan
    return float(1 - (a - b).var(ddof=1) / total)
