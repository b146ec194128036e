"""Seeds that collapse: how often, told exactly, and whether one side does so more often. Pure.

A seed that ends where it began, or below, is another outcome than one that learned a little less. A few of them spoil
every interval of a mean: with one seed in ten 0.4 below the others (sd 0.03), Student's 95 % interval from ten seeds
holds the mean 66 % of the time. So they are counted, and differences are taken among the others.
"""

from __future__ import annotations

import math

from scipy import stats

from atod_sweep.evidence.stats.intervals import Interval


def rate(collapsed: int, seeds: int) -> Interval:
    """Share of seeds that collapse with its exact 95 % interval (Clopper and Pearson 1934); NaN without seeds.

    >>> interval = rate(1, 10)
    >>> round(interval.low, 4), interval.estimate, round(interval.high, 4)
    (0.0025, 0.1, 0.445)
    >>> round(rate(0, 10).high, 4)
    0.3085
    """
    if seeds == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    low = float(stats.beta.ppf(0.025, collapsed, seeds - collapsed + 1)) if collapsed else 0.0
    high = float(stats.beta.ppf(0.975, collapsed + 1, seeds - collapsed)) if collapsed < seeds else 1.0
    return Interval(collapsed / seeds, low, high, seeds)


def offset(lead: float, level: float) -> float:
    """Share r of seeds on which a side that leads by `lead` at `level` must fall to 0 for the mean's lead to be gone.

    (1 - r) lead = r (level - lead) gives r = lead / level; NaN at a level of 0. A collapse too rare to have been met
    does not show in the seeds that were: only its price can be told, and held against what `rate` leaves open.

    >>> round(offset(0.05, 0.55), 3)
    0.091
    """
    return lead / level if level > 0 else math.nan


def exact_p(only_a: int, only_b: int) -> float:
    """Two-sided p of equal rates from the seeds on which one side alone collapsed (McNemar 1947, exact).

    Under equal rates each of them is a fair coin: with 6 of 6 on one side p = 2 / 64.

    >>> exact_p(6, 0), exact_p(1, 0), exact_p(0, 0)
    (0.03125, 1.0, 1.0)
    """
    seeds = only_a + only_b
    return min(1.0, 2 * float(stats.binom.cdf(min(only_a, only_b), seeds, 0.5))) if seeds else 1.0


def anytime_p(only_a: int, only_b: int) -> float:
    """As `exact_p`, but valid however often one looks: 1 / e with e = 2^k / ((k + 1) C(k, only_a)), k = a + b.

    e is the likelihood ratio of a coin of unknown bias (uniform prior) against a fair one, a martingale under the
    latter (Ville 1939).

    >>> round(anytime_p(8, 0), 4), anytime_p(1, 1)
    (0.0352, 1.0)
    """
    seeds = only_a + only_b
    return min(1.0, (seeds + 1) * math.comb(seeds, only_a) / 2.0**seeds)
