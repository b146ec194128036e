"""Tests and intervals that belong together, against scipy and statsmodels, and where there is nothing to divide by."""

import math

import numpy as np
import pytest
from scipy import stats
from sleep_data import DRUG_1, DRUG_2
from statsmodels.stats.weightstats import ttost_paired

from atod_sweep.evidence.stats.intervals import t_interval
from atod_sweep.evidence.stats.procedures import SEQUENCE, STUDENT, Procedure, resolution

SLEEP = np.subtract(DRUG_2, DRUG_1)
BOTH = pytest.mark.parametrize("procedure", [STUDENT, SEQUENCE], ids=["student", "sequence"])


def test_students_is_the_paired_t_test() -> None:
    assert STUDENT.p(SLEEP) == pytest.approx(0.00283289, abs=1e-8)
    assert STUDENT.p(SLEEP, 1.0) == pytest.approx(stats.ttest_1samp(SLEEP, 1.0).pvalue)
    mine, theirs = STUDENT.interval(SLEEP), t_interval(SLEEP)
    assert (mine.estimate, mine.low, mine.high) == pytest.approx((theirs.estimate, theirs.low, theirs.high))


@pytest.mark.parametrize("margin", [0.2, 0.5, 1.0])
def test_equivalence_agrees_with_statsmodels(margin: float) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.1, 0.5, (2, 12))
    assert STUDENT.p_within(a - b, margin) == pytest.approx(ttost_paired(a, b, -margin, margin)[0])


def test_the_sequences_p_by_hand() -> None:
    """Mean 0.1, sd 0.01, n = 4: t² = 400, so that the e-value is 5^(-1/2) (1 - 400/403 * 4/5)^(-2) = 10.543."""
    x_N = [0.1 + s * 0.01 * math.sqrt(3) / 2 for s in (1, 1, -1, -1)]
    assert SEQUENCE.p(x_N) == pytest.approx(1 / 10.543, rel=1e-4)
    assert SEQUENCE.p(x_N, 0.1) == 1.0  # an e-value below 1 is no evidence
    assert SEQUENCE.p_within(x_N, 0.2) == pytest.approx(0.5 / 10.543, rel=1e-4)  # 0.2 is as far from 0.1 as 0 is
    assert SEQUENCE.p_within(x_N, 0.05) == 1.0  # outside


@BOTH
@pytest.mark.parametrize("floor", [0.0, 2.0])
@pytest.mark.parametrize("n", [5, 12, 30])
def test_p_is_below_alpha_exactly_where_the_interval_decides(procedure: Procedure, n: int, floor: float) -> None:
    x_N = np.random.default_rng(n).normal(0.2, 1, n)
    wide, narrow = procedure.interval(x_N, 0.95, floor), procedure.interval(x_N, 0.9, floor)
    for step in (-1e-6, 1e-6):
        assert (procedure.p(x_N, wide.low + step, floor) < 0.05) == (step < 0)
        assert (procedure.p(x_N, wide.high + step, floor) < 0.05) == (step > 0)
        margin = max(abs(narrow.low), abs(narrow.high)) + step
        assert (procedure.p_within(x_N, margin, floor) < 0.05) == (step > 0)


def test_a_floor_widens_and_never_narrows() -> None:
    x_N = np.random.default_rng(0).normal(0, 1, 8)
    spread = x_N.std(ddof=1)
    assert STUDENT.interval(x_N, floor=spread / 2) == STUDENT.interval(x_N)
    assert STUDENT.interval(x_N, floor=2 * spread).half_width == pytest.approx(2 * STUDENT.interval(x_N).half_width)
    assert STUDENT.p(x_N, 1.0, floor=2 * spread) > STUDENT.p(x_N, 1.0)


@BOTH
@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([0.1] * 3, 0.25),  # three equal signs of three: what a coin does one time in four
        ([0.1] * 5, 0.0625),
        ([0.1] * 6, 0.03125),
        ([0.3 - 0.2, 0.4 - 0.3, 0.5 - 0.4, 0.6 - 0.5, 0.7 - 0.6, 0.8 - 0.7], 0.03125),  # equal but for rounding
        ([0.0] * 6, 1.0),
    ],
)
def test_without_any_spread_only_the_number_of_seeds_speaks(
    procedure: Procedure, values: list[float], p: float
) -> None:
    assert procedure.p(values) == pytest.approx(p)
    assert procedure.interval(values).excludes(0.0) == (p < 0.05)


@BOTH
def test_fewer_than_two_values_have_no_p(procedure: Procedure) -> None:
    assert math.isnan(procedure.p([0.1]))
    assert math.isnan(procedure.p_within([], 0.2))
    assert math.isnan(procedure.interval([0.1]).low)
    assert math.isnan(procedure.interval([]).estimate)


def test_sequence_is_wider_than_students_and_infinite_at_first() -> None:
    x_N = np.random.default_rng(1).normal(0, 1, 40)
    assert math.isinf(SEQUENCE.interval(x_N[:3]).high)
    for n in (5, 10, 40):
        assert SEQUENCE.interval(x_N[:n]).half_width > STUDENT.interval(x_N[:n]).half_width


@pytest.mark.parametrize(
    ("differences", "tasks", "spread"),
    [
        ([0.0, 0.0], 100, 0.01 / math.sqrt(6)),  # rounding: two uniform errors of width 0.01
        ([0.2, 0.2], 100, 0.04),  # at least 20 of 100 tasks turn out differently: sqrt((0.2 - 0.04) / 100)
        ([-0.2, 0.2], 100, 0.04),
        ([1.0, 1.0], 100, 0.01 / math.sqrt(6)),
        ([0.2, 0.0], 100, math.sqrt((0.04**2 + 0.0001 / 6) / 2)),
        ([], 100, 0.0),
    ],
)
def test_what_a_score_can_resolve(differences: list[float], tasks: int, spread: float) -> None:
    assert resolution(differences, tasks) == pytest.approx(spread)
