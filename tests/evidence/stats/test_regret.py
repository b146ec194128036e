"""Regret of a choice: by hand, and how often its limits hold what is true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from atod_sweep.evidence.stats.ranks import agreement
from atod_sweep.evidence.stats.regret import regret


def test_two_arms_are_a_paired_t_interval() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 0.1, 6), rng.normal(0.9, 0.1, 6)
    found = regret([a, b], 0)
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (found.estimate, found.low, found.high) == pytest.approx(((b - a).mean(), low, high))
    assert regret([a, b], 1).estimate == 0
    assert regret([a, b], 1).high == 0  # surely the best


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_limits_hold_the_truth_as_often_as_they_say(seeds: int) -> None:
    """Six arms, the chosen one 0.02 below the best, seeds that move all arms alike."""
    rng = np.random.default_rng(seeds)
    mean_A = np.array([0.58, 0.60, 0.60, 0.55, 0.59, 0.50])
    held = 0
    for _ in range(400):
        found = regret(mean_A[:, None] + rng.normal(0, 0.05, seeds) + rng.normal(0, 0.02, (6, seeds)), 0)
        held += found.low <= 0.02 <= found.high
    assert held / 400 >= 0.95


def test_arms_that_are_alike_seldom_show_a_regret() -> None:
    rng = np.random.default_rng(0)
    found = [regret(rng.normal(0, 0.05, 3) + rng.normal(0, 0.03, (6, 3)), 0) for _ in range(400)]
    assert sum(one.low > 0 for one in found) / 400 <= 0.04


def test_seeds_that_are_alike_by_rounding_do_not_make_it_certain() -> None:
    alike = [[0.5] * 3, [0.55] * 3, [0.4] * 3]
    assert regret(alike, 0).half_width < 1e-9
    found = regret(alike, 0, tasks=64)
    assert found.low == 0 < found.estimate < found.high < 0.3
    far = regret(
        [[0.5] * 3, [0.51] * 3, [0.02] * 3], 0, tasks=512
    )  # what the worst arm leaves open is not the best one's
    assert far.high < 0.05
    assert regret(alike, 0, tasks=10**9).half_width < 1e-4


def test_too_little_gives_no_limits() -> None:
    assert np.isnan(regret([[0.5], [0.6]], 0).high)
    assert regret([[0.5], [0.6]], 0).estimate == pytest.approx(0.1)
    assert np.isnan(regret([[0.5, 0.6]], 0).high)
    with pytest.raises(ValueError, match="finite"):
        regret([[0.5, np.nan], [0.5, 0.6]], 0)


def test_agreement_of_orders() -> None:
    order = np.array([[0.1], [0.2], [0.3], [0.4]]) + np.zeros((4, 3))
    assert agreement(order, order).estimate == pytest.approx(1.0)
    assert agreement(order, -order).estimate == pytest.approx(-1.0)
    assert agreement(order, order).low == pytest.approx(1.0)  # no seed speaks against it
    assert agreement(order, order) == agreement(order, order)
    assert np.isnan(agreement(order[:2], order[:2]).estimate)
    assert np.isnan(agreement(order[:, :1], order).low)
    assert np.isnan(agreement(order, np.zeros((4, 3))).estimate)
    noise = np.random.default_rng(1).normal(0, 1, (2, 6, 4))
    wide = agreement(*noise)
    assert wide.low < 0 < wide.high
