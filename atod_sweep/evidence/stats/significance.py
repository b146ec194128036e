"""Tests of paired differences. `_N` seeds, `_K` tests. Pure: arrays in, p values out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.intervals import Array, as_scores

EXACT_LIMIT = 40  # two halves of 2^20 sums each; beyond it the t test is all but exact


def t_test(differences_N: ArrayLike, mean: float = 0.0) -> float:
    """Two-sided p of the paired t test of `mean`; NaN below two seeds.

    Differences that are all equal have p = 1 on the hypothesis and 0 off it: the data show no spread to judge by.
    """
    d_N = as_scores(differences_N) - mean
    if len(d_N) < 2:
        return np.nan
    if np.ptp(d_N) == 0:
        return float(d_N[0] == 0)
    return float(stats.ttest_1samp(d_N, 0.0).pvalue)


def sign_flip(differences_N: ArrayLike) -> float:
    """Exact two-sided p of the sign-flip test (Fisher's randomisation test of paired differences).

    The share of the 2^N sign patterns whose |sum| is at least the observed one; valid for any symmetric distribution.
    Counted from two sorted halves, so that N = 40 takes a second. ValueError beyond N = 40; NaN without seeds.
    """
    d_N = as_scores(differences_N)
    n = len(d_N)
    if n == 0:
        return np.nan
    if n > EXACT_LIMIT:
        raise ValueError(f"the exact test counts up to {EXACT_LIMIT} seeds, got {n}; use t_test")
    left, right = _signed_sums(d_N[: n // 2]), np.sort(_signed_sums(d_N[n // 2 :]))
    # Sums that are equal in exact arithmetic differ by rounding: count them as ties.
    bound = abs(d_N.sum()) - 1e-9 * np.abs(d_N).sum()
    if bound <= 0:
        return 1.0
    above = len(right) - np.searchsorted(right, bound - left, side="left")
    return float(2 * int(above.sum()) / 2**n)


def _signed_sums(d_N: Array) -> Array:
    sums = np.zeros(1)
    for value in d_N:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(n: int) -> float:
    """The smallest two-sided p that `n` seeds can reach in a sign-flip test: 2^(1-n); 0.0625 for five."""
    return 2.0 ** (1 - n) if n else 1.0


def holm(p_K: ArrayLike) -> Array:
    """Holm's (1979) step-down adjusted p values, in the order given; NaN stays NaN and counts as no test."""
    p = np.asarray(p_K, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, (len(order) - rank) * p[i])
        adjusted[i] = min(1.0, running)
    return adjusted


def equivalence(differences_N: ArrayLike, margin: float) -> float:
    """p of two one-sided t tests (Schuirmann 1987): small if the mean difference lies inside (-margin, margin).

    NaN below two seeds. Differences without spread give 0 inside the margin and 1 outside.
    """
    d_N = as_scores(differences_N)
    n = len(d_N)
    if n < 2:
        return np.nan
    error = d_N.std(ddof=1) / np.sqrt(n)
    if np.ptp(d_N) == 0:
        return float(abs(d_N[0]) >= margin)
    lower = stats.t.sf((d_N.mean() + margin) / error, n - 1)
    upper = stats.t.cdf((d_N.mean() - margin) / error, n - 1)
    return float(max(lower, upper))


def probability_better(differences_N: ArrayLike) -> float:
    """Posterior probability that the mean difference is above 0, under the prior 1/sigma (Gelman et al., BDA 3.2).

    The posterior of the mean is a t distribution around the observed one. NaN below two seeds; 0.5 if all are 0.
    """
    d_N = as_scores(differences_N)
    n = len(d_N)
    if n < 2:
        return np.nan
    if np.ptp(d_N) == 0:
        return float(0.5 * (1 + np.sign(d_N[0])))
    return float(stats.t.cdf(d_N.mean() / (d_N.std(ddof=1) / np.sqrt(n)), n - 1))
