"""Seeds and task sets as two sources of chance. `_S` seeds, `_T` task sets, each score the mean over one set. Pure.

A score on one set of held-out tasks speaks of those tasks. Scores of S seeds on the same T independently drawn sets are
x_st = mean + seed_s + set_t + rest_st with both effects random, so that an interval of the mean must carry both:

    error² = (sd of the seeds' means)² / S + (sd of the sets' means)² / T

Its expectation is the variance of the mean plus var(rest) / (S T), which it counts twice: a little on the safe side.
Degrees of freedom after Satterthwaite (1946), the layout is the crossed random-effects one of Searle, Casella and
McCulloch (1992, ch. 4). Differences of two arms are taken set by set first: both played the same tasks, so what a set
does to both has cancelled. How often such intervals hold the truth is measured in benchmarks/task_sets.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.intervals import Array, Interval, as_scores, t_interval

FEWEST = 4  # task sets; with two, intervals have been seen to hold the truth 85 % of the time


@dataclass(frozen=True)
class Errors:
    """Standard errors of a grand mean from its two sources, and the degrees of freedom of both together."""

    seeds: float
    sets: float
    df: float

    @property
    def total(self) -> float:
        """What an interval is made of."""
        return math.hypot(self.seeds, self.sets)


def errors(scores_ST: ArrayLike) -> Errors:
    """Of the mean of all scores. ValueError below two seeds or two sets, or with scores that are not finite.

    >>> found = errors([[0.5, 0.7], [0.6, 1.0]])  # means of seeds 0.6 and 0.8, of sets 0.55 and 0.85
    >>> round(found.seeds, 3), round(found.sets, 3), round(found.total, 3), round(found.df, 2)
    (0.1, 0.15, 0.18, 1.74)
    """
    x_ST = _table(scores_ST)
    s, t = x_ST.shape
    if min(s, t) < 2:
        raise ValueError(f"two sources of chance need two seeds and two task sets, got {s} and {t}")
    seeds, sets = _error(x_ST.mean(axis=1)), _error(x_ST.mean(axis=0))
    weight = seeds**4 / (s - 1) + sets**4 / (t - 1)
    return Errors(seeds, sets, (seeds**2 + sets**2) ** 2 / weight if weight else math.inf)


def interval(scores_ST: ArrayLike, level: float = 0.95) -> Interval:
    """Of the mean over all seeds and all tasks like these; `n` counts seeds.

    One row is one fixed model: its interval is Student's over task sets. One column leaves out what tasks do: Student's
    over seeds. NaN limits from a single score.
    """
    x_ST = _table(scores_ST)
    s, t = x_ST.shape
    if min(s, t) < 2:
        found = t_interval(x_ST.ravel(), level)
        return Interval(found.estimate, found.low, found.high, s, level)
    error, mean = errors(x_ST), float(x_ST.mean())
    half = float(stats.t.ppf((1 + level) / 2, error.df)) * error.total
    return Interval(mean, mean - half, mean + half, s, level)


def p_value(scores_ST: ArrayLike, mean: float = 0.0) -> float:
    """Two-sided p of a mean: below 1 - level exactly where `interval` at that level leaves it out.

    ValueError below two seeds or two sets.
    """
    x_ST, error = _table(scores_ST), errors(scores_ST)
    away = abs(float(x_ST.mean()) - mean)
    if error.total == 0:
        return float(away == 0)
    return float(2 * stats.t.sf(away / error.total, error.df))


def _error(means_N: Array) -> float:
    return float(means_N.std(ddof=1)) / math.sqrt(len(means_N))


def _table(scores_ST: ArrayLike) -> Array:
    x_ST = np.asarray(scores_ST, dtype=np.float64)
    if x_ST.ndim != 2 or x_ST.size == 0:
        raise ValueError(f"scores must be seeds x task sets, at least one of each, got shape {list(x_ST.shape)}")
    return as_scores(x_ST.ravel()).reshape(x_ST.shape)
