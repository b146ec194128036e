"""How many seeds decide a difference, and what this many seeds can see. `_N` seeds. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from atod_sweep.evidence.stats.intervals import as_scores

MOST_SEEDS = 1_000


def power(effect: float, spread: float, n: int, alpha: float = 0.05) -> float:
    """Chance that a two-sided paired t test at `alpha` sees a mean difference `effect` of sample sd `spread`."""
    if n < 2:
        return 0.0
    if spread == 0:
        return float(effect != 0)
    shift = effect / spread * math.sqrt(n)
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    return _beyond(critical, n - 1, shift) + _beyond(critical, n - 1, -shift)


def _beyond(critical: float, df: int, shift: float) -> float:
    """P(noncentral t > critical), as the mean of P(Z + shift > critical * sd) over quantiles of the sample's sd.

    scipy.stats.nct gives NaN for few degrees of freedom and large shifts, which is the case of two or three seeds.
    """
    sd_Q = np.sqrt(stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, df) / df)
    return float(stats.norm.cdf(shift - critical * sd_Q).mean())


def equivalence_power(effect: float, spread: float, n: int, margin: float, alpha: float = 0.05) -> float:
    """Chance (a lower bound) that two one-sided t tests at `alpha` show |mean| < margin when the mean is `effect`."""
    if n < 2 or abs(effect) >= margin:
        return 0.0
    if spread == 0:
        return 1.0
    critical = stats.t.ppf(1 - alpha, n - 1)
    scale = math.sqrt(n) / spread
    upper = _beyond(critical, n - 1, (margin - effect) * scale)
    lower = _beyond(critical, n - 1, (margin + effect) * scale)
    return max(0.0, upper + lower - 1)


def seeds_needed(effect: float, spread: float, alpha: float = 0.05, wanted: float = 0.8) -> int | None:
    """Smallest number of paired seeds with power `wanted` for this difference; None beyond 1,000.

    Checked by the test against the table of Cohen (1988): effect / spread = 1 needs 10 pairs at 80 %.
    """
    return _smallest(lambda n: power(effect, spread, n, alpha), wanted)


def equivalence_seeds_needed(
    effect: float, spread: float, margin: float, alpha: float = 0.05, wanted: float = 0.8
) -> int | None:
    """Smallest number of paired seeds with power `wanted` to show equivalence; None if the effect is not inside."""
    if abs(effect) >= margin:
        return None
    return _smallest(lambda n: equivalence_power(effect, spread, n, margin, alpha), wanted)


def _smallest(power_of: Callable[[int], float], wanted: float) -> int | None:
    if power_of(MOST_SEEDS) < wanted:
        return None
    low, high = 1, 2
    while power_of(high) < wanted:
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= wanted else (middle, high)
    return high


def minimum_detectable(spread: float, n: int, alpha: float = 0.05, wanted: float = 0.8) -> float:
    """Smallest mean difference that `n` paired seeds see with power `wanted`; NaN below two seeds."""
    if n < 2:
        return np.nan
    if spread == 0:
        return 0.0
    # With two seeds and alpha = 0.05 the answer is near 20 spreads; 1,000 is out of reach for every n.
    return float(optimize.brentq(lambda d: power(d * spread, spread, n, alpha) - wanted, 1e-6, 1e3) * spread)


def variance_removed(a_N: ArrayLike, b_N: ArrayLike) -> float:
    """Share of the variance of mean(a) - mean(b) that common seeds take away: 1 - var(a - b) / (var(a) + var(b)).

    Negative where pairing hurts; NaN below two seeds or without variance.
    """
    a, b = as_scores(a_N), as_scores(b_N)
    if len(a) < 2 or (total := a.var(ddof=1) + b.var(ddof=1)) == 0:
        return np.nan
    return float(1 - (a - b).var(ddof=1) / total)
