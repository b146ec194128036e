"""Rates of collapse and their test against scipy, and by hand."""

import math

import pytest
from scipy import stats

from atod_sweep.evidence.stats import collapse


@pytest.mark.parametrize(("count", "seeds"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 40), (0, 1)])
def test_rates_have_scipys_exact_interval(count: int, seeds: int) -> None:
    mine, theirs = collapse.rate(count, seeds), stats.binomtest(count, seeds).proportion_ci(0.95, "exact")
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))
    assert mine.estimate == count / seeds


def test_no_seeds_have_no_rate() -> None:
    assert math.isnan(collapse.rate(0, 0).estimate)


@pytest.mark.parametrize(("a", "b"), [(6, 0), (0, 6), (5, 1), (3, 3), (1, 0), (0, 0), (9, 2)])
def test_the_exact_test_is_the_sign_test_of_seeds_that_differ(a: int, b: int) -> None:
    assert collapse.exact_p(a, b) == pytest.approx(stats.binomtest(a, a + b).pvalue if a + b else 1.0)


def test_the_anytime_p_by_hand() -> None:
    """Eight of eight: 2^8 / (9 * 1) = 28.4. Four of eight: 2^8 / (9 * 70) < 1, no evidence."""
    assert collapse.anytime_p(8, 0) == collapse.anytime_p(0, 8) == pytest.approx(9 / 256)
    assert collapse.anytime_p(4, 4) == 1.0
    assert collapse.anytime_p(0, 0) == 1.0


def test_the_anytime_p_holds_at_every_look() -> None:
    """The chance that a fair coin ever brings it to 5 %, exactly: 60 throws, stopped at the bound."""
    alive, crossed = {0: 1.0}, 0.0
    for k in range(1, 61):
        after: dict[int, float] = {}
        for heads, share in alive.items():
            for now in (heads, heads + 1):
                after[now] = after.get(now, 0.0) + share / 2
        crossed += sum(share for heads, share in after.items() if collapse.anytime_p(heads, k - heads) <= 0.05)
        alive = {heads: share for heads, share in after.items() if collapse.anytime_p(heads, k - heads) > 0.05}
    assert 0.005 < crossed < 0.05
