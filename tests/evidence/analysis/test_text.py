"""Numbers as people read them."""

import math

import pytest

from atod_sweep.evidence.analysis import text
from atod_sweep.evidence.stats.intervals import Interval


@pytest.mark.parametrize(
    ("value", "signed", "printed"),
    [
        (0.656, False, "0.66"),
        (-0.04, False, "−0.04"),
        (0.02, True, "+0.02"),
        (-0.001, True, "+0.00"),
        (-0.001, False, "0.00"),
        (12.345, False, "12.3"),
        (1234.5, False, "1,234"),
        (math.nan, False, "–"),
    ],
)
def test_number(value: float, signed: bool, printed: str) -> None:
    assert text.number(value, signed=signed) == printed


@pytest.mark.parametrize(
    ("value", "printed"), [(640, "640"), (999, "999"), (1000, "1 k"), (182_345, "182 k"), (1.34e6, "1.34 M")]
)
def test_count(value: float, printed: str) -> None:
    assert text.count(value) == printed


@pytest.mark.parametrize(
    ("seconds", "printed"), [(0.52, "0.5 s"), (53.2, "53 s"), (161, "2:41 min"), (3600, "1:00 h"), (7265, "2:01 h")]
)
def test_duration(seconds: float, printed: str) -> None:
    assert text.duration(seconds) == printed


def test_estimate_without_limits_is_the_mean_alone() -> None:
    assert text.estimate(Interval(0.5, math.nan, math.nan, 1)) == "0.50"
    assert text.estimate(Interval(0.5, 0.4, 0.6, 3)) == "0.50 [0.40, 0.60]"


def test_listing() -> None:
    assert text.listing(["a"]) == "a"
    assert text.listing(["a", "b", "c"]) == "a, b and c"
    assert text.listing(list("abcdef"), most=4) == "a, b, c, d and 2 more"
