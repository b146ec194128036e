"""Numbers that sum up scores over seeds and tasks. `_S` seeds, `_T` tasks (conditions), `_P` thresholds. Pure.

After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from atod_sweep.evidence.stats.decision import ALPHA
from atod_sweep.evidence.stats.intervals import Array, Interval
from atod_sweep.evidence.stats.procedures import STUDENT

TRIM = 0.25


def as_table(scores_ST: ArrayLike) -> Array:
    """A finite float64 table [seeds, tasks]. ValueError if it has holes: missing cells are never averaged away."""
    table_ST = np.asarray(scores_ST, dtype=np.float64)
    if table_ST.ndim != 2 or table_ST.size == 0:
        raise ValueError(f"expected scores[seeds, tasks], got shape {table_ST.shape}")
    if not np.isfinite(table_ST).all():
        raise ValueError(f"scores must be finite, got {table_ST[~np.isfinite(table_ST)][0]}; leave missing seeds out")
    return table_ST


@dataclass(frozen=True)
class Statistic:
    """A summary of pooled scores along the last axis, and how much each score moves it.

    `influence` (up to a constant) gives the standard error; None: there is none. `inner`: which scores it takes at
    their own value. `words`: what it is, in a caption.
    """

    name: str
    of: Callable[[Array], Array]
    influence: Callable[[Array], Array] | None
    words: str = ""
    inner: Callable[[Array], NDArray[np.bool_]] = lambda pool: np.ones(pool.shape, dtype=bool)

    def __call__(self, scores_ST: ArrayLike) -> float:
        """The statistic of all runs of all tasks together."""
        return float(self.of(as_table(scores_ST).reshape(-1)))


def _trimmed(pool_M: Array) -> Array:
    cut = int(TRIM * pool_M.shape[-1])
    return np.sort(pool_M, axis=-1)[..., cut : pool_M.shape[-1] - cut].mean(axis=-1)


def _ends(pool_M: Array) -> tuple[Array, Array]:
    """The lowest and the highest score that are not cut off."""
    cut = int(TRIM * pool_M.shape[-1])
    ordered = np.sort(pool_M, axis=-1)
    return ordered[..., cut, None], ordered[..., pool_M.shape[-1] - 1 - cut, None]


def _inner(pool_M: Array) -> NDArray[np.bool_]:
    low, high = _ends(pool_M)
    return np.asarray((low <= pool_M) & (pool_M <= high))


def _winsorised(pool_M: Array) -> Array:
    """Influence of each score on the trimmed mean (Tukey and McLaughlin 1963)."""
    m = pool_M.shape[-1]
    return np.clip(pool_M, *_ends(pool_M)) / (1 - 2 * int(TRIM * m) / m)


MEAN = Statistic("mean", lambda pool: pool.mean(axis=-1), lambda pool: pool)
MEDIAN = Statistic("median", lambda pool: np.median(pool, axis=-1), None)
# Mean of the middle half of all runs; below four runs nothing is cut.
IQM = Statistic("interquartile mean", _trimmed, _winsorised, "mean of the middle half of the runs", _inner)
# Those of the report's summary and of `tables/summaries.csv`: name of the column -> statistic.
SUMMARIES = {"iqm": IQM, "median": MEDIAN}


def linearised(scores_ST: ArrayLike, statistic: Statistic) -> Interval:
    """95 %: estimate ± t_{H-1} × standard error from each seed's influence: no resampling, no generator.

    The tasks' runs of one seed count as one observation, so that what a seed does to all tasks is not taken for
    several pieces of evidence. H: seeds of which a run counts at its own value; those that are cut off tell nothing of
    the spread. For one task this is Student's interval of the mean, and Tukey and McLaughlin's (1963) of the trimmed
    mean. Infinite where all seeds but one are cut off. ValueError for a statistic without influences.
    """
    if statistic.influence is None:
        raise ValueError(f"the {statistic.name} has no standard error; it needs a bootstrap (benchmarks/bootstrap.py)")
    table_ST = as_table(scores_ST)
    pool_M, seeds = table_ST.reshape(-1), len(table_ST)
    influence_S = statistic.influence(pool_M).reshape(table_ST.shape).mean(axis=1)
    inner = int(statistic.inner(pool_M).reshape(table_ST.shape).any(axis=1).sum())
    wider = STUDENT.critical(inner, ALPHA) / STUDENT.critical(seeds, ALPHA) if inner > 1 else math.inf
    estimate, half = statistic(table_ST), STUDENT.half_width(influence_S, ALPHA) * wider
    return Interval(estimate, estimate - half, estimate + half, seeds)


def performance_profile(scores_ST: ArrayLike, thresholds_P: ArrayLike) -> Array:
    """`fraction_P`: share of all runs, every task counting the same, with a score above each threshold."""
    table_ST = as_table(scores_ST)
    return (table_ST[..., None] > np.asarray(thresholds_P, dtype=np.float64)).mean(axis=(0, 1))


def probability_of_improvement(a_ST: ArrayLike, b_RT: ArrayLike) -> float:
    """Chance that a random run of `a` beats a random run of `b` on a random task; ties count half.

    The mean over tasks of the Mann-Whitney statistic U / (S R).
    """
    a, b = as_table(a_ST), as_table(b_RT)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both sides need the same tasks, got {a.shape[1]} and {b.shape[1]}")
    u_T = stats.mannwhitneyu(a, b, axis=0, method="asymptotic").statistic
    return float(np.mean(u_T) / (len(a) * len(b)))
