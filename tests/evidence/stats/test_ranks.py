"""Rank correlation against scipy, and its interval against simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from atod_sweep.evidence.stats.ranks import spearman


def test_ties_as_scipy() -> None:
    x, y = [1, 2, 2, 3, 5, 5, 5, 9], [2, 1, 4, 3, 3, 7, 8, 8]
    assert spearman(x, y).estimate == pytest.approx(stats.spearmanr(x, y).statistic)


@pytest.mark.parametrize(("n", "rho"), [(8, 0.0), (20, 0.5), (40, 0.8)])
def test_the_interval_holds_the_truth(n: int, rho: float) -> None:
    """Of normal pairs with correlation r the rank correlation is 6/pi asin(r/2)."""
    rng = np.random.default_rng(n)
    truth = 6 / math.pi * math.asin(rho / 2)
    held = 0
    for _ in range(800):
        x, e = rng.normal(0, 1, (2, n))
        held += not spearman(x, rho * x + math.sqrt(1 - rho**2) * e).excludes(truth)
    assert 0.92 < held / 800 < 0.99


@pytest.mark.parametrize(("x", "y"), [([], []), ([1], [1]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2])])
def test_nothing_to_rank(x: list[float], y: list[float]) -> None:
    assert math.isnan(spearman(x, y).estimate)


def test_three_pairs_have_no_limits_and_perfect_order_has_some() -> None:
    assert math.isnan(spearman([1, 2, 3], [1, 3, 2]).low)
    assert 0 < spearman(range(9), range(9)).low < spearman(range(9), range(9)).high <= 1
