"""Area under the curve and the first step at a level, by hand."""

import math

import pytest

from atod_sweep.evidence.stats.curves import area, first_reached, median_reached


def test_area() -> None:
    assert area([0, 10, 30], [0.2, 0.2, 0.2]) == pytest.approx(0.2)
    assert area([0, 10, 30], [0.0, 0.4, 0.6]) == pytest.approx((2 + 10) / 30)
    assert math.isnan(area([0], [0.5]))
    with pytest.raises(ValueError, match="must increase"):
        area([0, 0, 1], [1, 1, 1])


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0.1, 0.5, 0.5, 0.6], 10),
        ([0.1, 0.5, 0.4, 0.6], 30),  # a single lucky evaluation does not count, the last one does
        ([0.5, 0.5, 0.1, 0.1], 0),
        ([0.1, 0.2, 0.3, 0.49], math.inf),
        ([0.1, 0.2, 0.6, 0.4], math.inf),
    ],
)
def test_first_reached(values: list[float], step: float) -> None:
    assert first_reached([0, 10, 20, 30], values, 0.5) == step


@pytest.mark.parametrize(
    ("reached", "median"),
    [([3, 1, 2], 2), ([1, 2, math.inf], 2), ([1, math.inf, math.inf], math.inf), ([1, math.inf], math.inf), ([4], 4)],
)
def test_median_reached_counts_those_that_never_did(reached: list[float], median: float) -> None:
    assert median_reached(reached) == median
    assert math.isnan(median_reached([]))
