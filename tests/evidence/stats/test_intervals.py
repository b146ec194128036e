"""Student's interval against his own data, scipy and hand-made edge cases."""

import math

import numpy as np
import pytest
from scipy import stats
from sleep_data import DRUG_1, DRUG_2

from atod_sweep.evidence.stats.intervals import t_interval

GAINS = [b - a for a, b in zip(DRUG_1, DRUG_2, strict=True)]


def test_students_sleep_data() -> None:
    interval = t_interval(GAINS)
    assert interval.estimate == pytest.approx(1.58)
    assert (interval.low, interval.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert interval.n == 10


@pytest.mark.parametrize("n", [2, 3, 10, 40])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_agrees_with_scipy(n: int, level: float) -> None:
    x_N = np.random.default_rng(n).normal(3, 2, n)
    ours, theirs = t_interval(x_N, level), stats.ttest_1samp(x_N, 0).confidence_interval(level)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_one_value_has_no_limits_and_none_has_no_mean() -> None:
    one, none = t_interval([0.4]), t_interval([])
    assert one.estimate == 0.4
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(none.estimate)
    assert not one.excludes(7.0)


@pytest.mark.parametrize(("value", "outside"), [(0.69, True), (0.7002, False), (2.4598, False), (2.47, True)])
def test_excludes_only_what_lies_outside(value: float, outside: bool) -> None:
    assert t_interval(GAINS).excludes(value) is outside


def test_a_missing_score_is_refused_not_averaged() -> None:
    with pytest.raises(ValueError, match="nan"):
        t_interval([0.1, math.nan])
