"""The sequential rule: its formula against an integral, its error rate against simulation."""

import functools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from atod_sweep.evidence.stats.intervals import t_interval
from atod_sweep.evidence.stats.sequential import (
    anytime_equivalence,
    anytime_p,
    confidence_sequence,
    e_value,
    half_width,
)


@pytest.mark.parametrize(("n", "mean"), [(2, 0.3), (5, 0.5), (12, -0.4)])
def test_e_value_is_the_bayes_factor_it_claims_to_be(n: int, mean: float) -> None:
    """Density of t under effect size ~ N(0, 1), by quadrature over noncentral t, over its density under 0."""
    x_N = np.random.default_rng(n).normal(mean, 1, n)
    t = float(stats.ttest_1samp(x_N, 0).statistic)
    mixed = integrate.quad(lambda d: stats.norm.pdf(d) * stats.nct.pdf(t, n - 1, d * math.sqrt(n)), -6, 6, limit=200)[0]
    assert e_value(x_N) == pytest.approx(mixed / stats.t.pdf(t, n - 1), rel=1e-4)


def test_the_interval_ends_where_the_e_value_is_one_over_alpha() -> None:
    x_N = np.random.default_rng(0).normal(0.3, 1, 12)
    interval = confidence_sequence(x_N)
    assert e_value(x_N, interval.low) == pytest.approx(20)
    assert e_value(x_N, interval.high) == pytest.approx(20)


def test_p_values_by_hand() -> None:
    """Mean 0.1, sd 0.01, n = 4: t² = 400, so that the e-value is 5^(-1/2) (1 - 400/403 * 4/5)^(-2) = 10.543."""
    x_N = [0.1 + s * 0.01 * math.sqrt(3) / 2 for s in (1, 1, -1, -1)]
    assert anytime_p(x_N) == pytest.approx(1 / 10.543, rel=1e-4)
    assert anytime_p(x_N, 0.1) == 1.0  # an e-value below 1 is no evidence
    assert anytime_equivalence(x_N, 0.2) == pytest.approx(0.5 / 10.543, rel=1e-4)  # 0.2 is as far from 0.1 as 0 is
    assert anytime_equivalence(x_N, 0.05) == 1.0  # outside
    assert math.isnan(anytime_p([0.1]))
    assert math.isnan(anytime_equivalence([0.1], 0.2))


@pytest.mark.parametrize("n", [5, 12, 30])
def test_p_is_below_alpha_exactly_where_the_interval_decides(n: int) -> None:
    x_N = np.random.default_rng(n).normal(0.2, 1, n)
    wide, narrow = confidence_sequence(x_N, 0.95), confidence_sequence(x_N, 0.9)
    for step in (-1e-6, 1e-6):
        assert (anytime_p(x_N, wide.low + step) < 0.05) == (step < 0)
        margin = max(abs(narrow.low), abs(narrow.high)) + step
        assert (anytime_equivalence(x_N, margin) < 0.05) == (step > 0)


def test_it_is_wider_than_students_and_infinite_at_first() -> None:
    x_N = np.random.default_rng(1).normal(0, 1, 40)
    assert math.isinf(half_width(3))
    assert math.isinf(confidence_sequence([0.5]).high)
    assert math.isnan(confidence_sequence([]).estimate)
    for n in (5, 10, 40):
        assert confidence_sequence(x_N[:n]).half_width > t_interval(x_N[:n]).half_width
    assert half_width(10) == pytest.approx(1.22, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "uniform", "binomial"])
def test_error_rate_when_looking_after_every_seed(law: str) -> None:
    """Up to 40 seeds and a look after each one: the rule errs in at most 5 % of 4,000 runs, Student in over 20 %."""
    rng = np.random.default_rng(0)
    binomial = functools.partial(rng.binomial, 256, 0.6, 40)  # successes of two equal arms
    draws = {
        "normal": lambda: rng.normal(0, 1, 40),
        "uniform": lambda: rng.uniform(-1, 1, 40),
        "binomial": lambda: (binomial() - binomial()) / 256,
    }
    wrong = student = 0
    for _ in range(4000):
        x_N = draws[law]()
        looks = range(2, 41)
        wrong += any(confidence_sequence(x_N[:n]).excludes(0.0) for n in looks)
        student += any(t_interval(x_N[:n]).excludes(0.0) for n in looks)
    assert wrong / 4000 <= 0.05
    assert student / 4000 > 0.2


@pytest.mark.slow
def test_power_within_forty_seeds_in_blocks_of_five() -> None:
    """A difference of one standard deviation is found in nine of ten runs, half of them by 15 seeds."""
    rng = np.random.default_rng(1)
    stops = []
    for _ in range(500):
        x_N = rng.normal(1, 1, 40)
        stops.append(next((n for n in range(5, 41, 5) if confidence_sequence(x_N[:n]).low > 0), math.inf))
    assert np.mean(np.isfinite(stops)) > 0.9
    assert np.median(stops) <= 15
