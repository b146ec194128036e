"""What several tests together allow. `_K` tests. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from atod_sweep.evidence.stats.intervals import Array


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
