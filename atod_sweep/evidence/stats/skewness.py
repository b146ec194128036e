"""Do scores lean to one side? `_C` cells (arm at a condition), each a list of scores over seeds. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from atod_sweep.evidence.stats.intervals import as_scores


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
