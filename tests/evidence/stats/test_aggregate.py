"""Aggregates by hand, where mean, median and interquartile mean all differ, and against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from atod_sweep.evidence.stats.aggregate import (
    IQM,
    MEAN,
    MEDIAN,
    linearised,
    performance_profile,
    probability_of_improvement,
)
from atod_sweep.evidence.stats.intervals import t_interval

SCORES = [[0.0, 1.0], [2.0, 3.0], [10.0, 100.0]]


def test_mean_median_and_iqm_are_told_apart() -> None:
    assert MEAN(SCORES) == pytest.approx(116 / 6)
    assert MEDIAN(SCORES) == 2.5
    assert IQM(SCORES) == 4.0  # of six runs the lowest and the highest go: (1 + 2 + 3 + 10) / 4


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (3, 2), (5, 3), (10, 4)])
def test_iqm_agrees_with_scipys_trimmed_mean(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(sum(shape)).exponential(1, shape)
    assert IQM(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None))


def test_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        IQM([[0.1, math.nan]])
    with pytest.raises(ValueError, match=r"got shape \(2,\)"):
        MEAN([0.1, 0.2])


def test_performance_profile_by_hand() -> None:
    profile = performance_profile(SCORES, [-1.0, 0.0, 2.5, 10.0, 99.0, 100.0])
    assert profile.tolist() == pytest.approx([1, 5 / 6, 3 / 6, 1 / 6, 1 / 6, 0])


def test_probability_of_improvement_by_hand() -> None:
    a, b = [[1.0, 5.0], [3.0, 5.0]], [[2.0, 5.0], [0.0, 6.0], [1.0, 4.0]]
    # Task 1: 1 beats 0 and ties 1, 3 beats all: 4.5 of 6. Task 2: each 5 ties 5, loses to 6, beats 4: 3 of 6.
    assert probability_of_improvement(a, b) == pytest.approx((4.5 / 6 + 3 / 6) / 2)
    assert probability_of_improvement(b, a) == pytest.approx(1 - (4.5 / 6 + 3 / 6) / 2)
    with pytest.raises(ValueError, match="got 2 and 1"):
        probability_of_improvement(a, [[1.0]])


CONTROL = np.array([52.0, 104, 146, 10, 51, 30, 40, 27, 46])[:, None]


def test_linearised_is_students_interval_for_the_mean_of_one_task() -> None:
    ours, student = linearised(CONTROL, MEAN), t_interval(CONTROL[:, 0])
    assert (ours.low, ours.high) == pytest.approx((student.low, student.high))


def test_linearised_takes_seeds_and_not_runs_for_evidence() -> None:
    """Copying a task adds no information: the interval of the mean must not shrink."""
    once, twice = linearised(CONTROL, MEAN), linearised(np.hstack([CONTROL, CONTROL]), MEAN)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


def test_linearised_trimmed_mean_by_hand() -> None:
    """1 .. 8 without two at each end: 4.5. Winsorised 3,3,3,4,5,6,6,6: sd sqrt 2, error sqrt 2 / 0.5 / sqrt 8 = 1.

    Four of the eight are left, so Tukey and McLaughlin's t has three degrees of freedom.
    """
    interval = linearised(np.arange(1.0, 9.0)[:, None], IQM)
    assert interval.estimate == 4.5
    assert interval.half_width == pytest.approx(stats.t.ppf(0.975, 3) * 1.0)


@pytest.mark.parametrize("seeds", [4, 5, 8, 10])
def test_an_interval_of_the_trimmed_mean_holds_it(seeds: int) -> None:
    """With the degrees of freedom of all seeds it held it 74, 86, 87 and 91 % of the time."""
    draws = np.random.default_rng(seeds).normal(size=(2000, seeds, 1))
    assert np.mean([not linearised(one, IQM).excludes(0.0) for one in draws]) > 0.91


def test_seeds_that_are_cut_off_at_every_task_tell_nothing_of_the_spread() -> None:
    assert linearised([[0.1, 0.9, 0.0, 1.0], [0.5, 0.5, 0.4, 0.6]], IQM).half_width == math.inf


@pytest.mark.parametrize(("seeds", "half"), [(1, math.nan), (2, math.inf), (5, math.inf), (6, 0.0)])
def test_equal_runs_are_no_certainty_before_their_signs_are(seeds: int, half: float) -> None:
    for statistic in (MEAN, IQM):
        interval = linearised(np.full((seeds, 3), 0.7), statistic)
        assert (interval.estimate, interval.half_width) == pytest.approx((0.7, half), nan_ok=True)
