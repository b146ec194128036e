"""Bootstrap intervals against Efron and Tibshirani's worked examples, scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from atod_sweep.evidence.stats.aggregate import IQM, MEAN, MEDIAN
from benchmarks.bootstrap import bca, draw, percentile, studentised

# Survival times of mice in days (Efron and Tibshirani 1993, table 2.1).
TREATED = np.array([94.0, 197, 16, 38, 99, 141, 23])[:, None]
CONTROL = np.array([52.0, 104, 146, 10, 51, 30, 40, 27, 46])[:, None]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_mouse_datas_standard_errors() -> None:
    """Table 2.2: with 1,000 or more resamples 23.0 to 23.4 days for the mean, 37.8 for the median."""
    assert draw(TREATED, MEAN, rng(), 20_000).values.std() == pytest.approx(23.36, abs=0.3)
    assert draw(TREATED, MEDIAN, rng(), 20_000).values.std() == pytest.approx(37.83, abs=0.6)


def test_the_mouse_datas_bootstrap_t_interval() -> None:
    """Section 12.5 of the book: 90 % bootstrap-t interval of the control mean is (35.82, 116.74), 1,000 resamples."""
    interval = studentised(draw(CONTROL, MEAN, rng(), 20_000), 0.9)
    assert interval.low == pytest.approx(35.82, abs=1.5)
    assert interval.high == pytest.approx(116.74, abs=8)


@pytest.mark.parametrize(("ours", "theirs"), [(percentile, "percentile"), (bca, "BCa")])
@pytest.mark.parametrize("statistic", [MEAN, IQM, MEDIAN], ids=lambda s: s.name)
def test_agrees_with_scipy_on_one_task(ours: object, theirs: str, statistic: object) -> None:
    x_S = np.random.default_rng(3).exponential(1, 15)
    interval = ours(draw(x_S[:, None], statistic, rng(), 5000))  # type: ignore[operator, arg-type]
    reference = stats.bootstrap(
        (x_S,), lambda x, axis: np.apply_along_axis(statistic.of, axis, x), method=theirs, rng=rng(), n_resamples=5000
    ).confidence_interval  # type: ignore[attr-defined]
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=0.06)


def test_resampling_stays_within_tasks() -> None:
    """Two tasks without any noise: whatever is drawn, the statistic stays."""
    scores = np.array([[0.0, 10.0]] * 4)
    interval = percentile(draw(scores, MEAN, rng(), 500))
    assert (interval.low, interval.estimate, interval.high) == (5.0, 5.0, 5.0)


def test_the_generator_decides_the_draws() -> None:
    a, b, c = (draw(CONTROL, IQM, np.random.default_rng(seed), 50).values for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_edges() -> None:
    one = percentile(draw([[0.5]], MEAN, rng(), 10))
    assert one.estimate == 0.5
    assert math.isnan(one.low)
    with pytest.raises(ValueError, match="median has no standard error"):
        studentised(draw(CONTROL, MEDIAN, rng(), 10))
    same = bca(draw([[0.5], [0.5], [0.5]], MEAN, rng(), 10))
    assert (same.low, same.high) == (0.5, 0.5)
