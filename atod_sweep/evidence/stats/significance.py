"""What several tests together allow, and the odds of a difference. `_N` seeds, `_K` tests. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.intervals import Array, as_scores


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
