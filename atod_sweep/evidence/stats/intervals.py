"""Student-t intervals. `_N` seeds. Pure: arrays in, records out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence limits; NaN limits where the data cannot give any (fewer than two seeds)."""

    estimate: float
    low: float
    high: float
    n: int
    level: float = 0.95

    @property
    def half_width(self) -> float:
        """Half the length of the interval, in units of the estimate."""
        return (self.high - self.low) / 2

    def towards(self, sign: float) -> Interval:
        """Of the same quantity, counted the other way round where `sign` is negative."""
        return self if sign > 0 else Interval(-self.estimate, -self.high, -self.low, self.n, self.level)

    def excludes(self, value: float) -> bool:
        """True if `value` lies outside the closed interval; never for NaN limits."""
        return value < self.low or value > self.high


def as_scores(values: ArrayLike) -> Array:
    """A finite one-dimensional float64 array. Raises ValueError quoting the first value that is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected one score per seed, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"scores must be finite, got {array[~np.isfinite(array)][0]}; leave missing seeds out")
    return array


def t_interval(values_N: ArrayLike, level: float = 0.95) -> Interval:
    """mean ± t_{N-1} s / sqrt(N): the interval of a mean over seeds (Student 1908).

    One value gives NaN limits, none gives a NaN estimate as well. Scores that are not finite raise ValueError.
    """
    x_N = as_scores(values_N)
    n = len(x_N)
    if n < 2:
        return Interval(float(x_N[0]) if n else np.nan, np.nan, np.nan, n, level)
    half = stats.t.ppf((1 + level) / 2, n - 1) * x_N.std(ddof=1) / np.sqrt(n)
    mean = float(x_N.mean())
    return Interval(mean, float(mean - half), float(mean + half), n, level)
