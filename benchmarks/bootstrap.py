"""Stratified bootstrap intervals. `_R` resamples, `_S` seeds, `_T` tasks, `_M` pooled runs. Pure; generator passed in.

Seeds are drawn again within each task, so that every resample has as many runs of each task as the data. These
intervals are what reports do not use: coverage.md says why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats.aggregate import Statistic, as_table
from atod_sweep.evidence.stats.intervals import Array, Interval


@dataclass(frozen=True)
class Draws:
    """The statistic on the data and on every resample, with its standard errors where it has any."""

    scores: Array
    statistic: Statistic
    estimate: float
    values: Array
    error: float
    errors: Array


def draw(scores_ST: ArrayLike, statistic: Statistic, rng: np.random.Generator, reps: int = 2000) -> Draws:
    """Resample the seeds within each task `reps` times."""
    table_ST = as_table(scores_ST)
    seeds, tasks = table_ST.shape
    index_RST = rng.integers(0, seeds, (reps, seeds, tasks))
    again_RST = table_ST[index_RST, np.arange(tasks)]
    return Draws(
        scores=table_ST,
        statistic=statistic,
        estimate=statistic(table_ST),
        values=statistic.of(again_RST.reshape(reps, -1)),
        error=float(_errors(table_ST[None], statistic)[0]),
        errors=_errors(again_RST, statistic),
    )


def _errors(table_RST: Array, statistic: Statistic) -> Array:
    """`error_R`: standard error from the influence of each run, tasks being strata of their own."""
    if statistic.influence is None or table_RST.shape[1] < 2:
        return np.full(len(table_RST), np.nan)
    influence_RST = statistic.influence(table_RST.reshape(len(table_RST), -1)).reshape(table_RST.shape)
    seeds, runs = table_RST.shape[1], table_RST.shape[1] * table_RST.shape[2]
    return np.sqrt(seeds * influence_RST.var(axis=1, ddof=1).sum(axis=-1)) / runs


def percentile(draws: Draws, level: float = 0.95) -> Interval:
    """Quantiles of the resampled statistic (Efron 1979): what the field uses, too short for few seeds."""
    low, high = np.quantile(draws.values, [(1 - level) / 2, (1 + level) / 2])
    return _interval(draws, low, high, level)


def bca(draws: Draws, level: float = 0.95) -> Interval:
    """Bias-corrected and accelerated interval (Efron 1987), the acceleration from the jackknife within tasks.

    Falls back on the percentile limits where all resamples or all jackknife values agree.
    """
    below = np.mean(draws.values < draws.estimate) + np.mean(draws.values == draws.estimate) / 2
    pull_ST = _jackknife(draws.scores, draws.statistic)
    pull_ST = pull_ST.mean(axis=0) - pull_ST
    total = (pull_ST**2).sum()
    if not 0 < below < 1 or total == 0:
        return percentile(draws, level)
    acceleration = (pull_ST**3).sum() / (6 * total**1.5)
    shift = stats.norm.ppf(below)
    z = shift + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(draws.values, stats.norm.cdf(shift + z / (1 - acceleration * z)))
    return _interval(draws, low, high, level)


def _jackknife(table_ST: Array, statistic: Statistic) -> Array:
    """The statistic without one run, for every run."""
    pool_M = table_ST.reshape(-1)
    others_MM = np.broadcast_to(pool_M, (len(pool_M), len(pool_M)))[~np.eye(len(pool_M), dtype=bool)]
    return statistic.of(others_MM.reshape(len(pool_M), -1)).reshape(table_ST.shape)


def studentised(draws: Draws, level: float = 0.95) -> Interval:
    """Bootstrap-t interval (Efron and Tibshirani 1993, chapter 12): quantiles of (value - estimate) / error.

    Infinite where more resamples have no spread than the level allows: with three seeds, one in nine. ValueError for a
    statistic without a standard error.
    """
    if draws.statistic.influence is None:
        raise ValueError(f"the {draws.statistic.name} has no standard error to studentise by; use percentile or bca")
    away_R = draws.values - draws.estimate
    with np.errstate(divide="ignore", invalid="ignore"):
        t_R = np.where(away_R == 0, 0.0, away_R / draws.errors)
    low, high = np.quantile(t_R, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return _interval(draws, draws.estimate - high * draws.error, draws.estimate - low * draws.error, level)


def _interval(draws: Draws, low: float, high: float, level: float) -> Interval:
    seeds = len(draws.scores)
    if seeds < 2:
        low = high = np.nan
    return Interval(draws.estimate, float(low), float(high), seeds, level)
