"""No outlier sets an axis, and nothing beyond it goes untold."""

import math

import pytest
from matplotlib.figure import Figure

from atod_sweep.evidence.figures.reach import Span, bar, dots, span
from atod_sweep.evidence.stats.intervals import Interval, t_interval

SEEDS = [0.01, 0.02, 0.03, 0.02, 0.01]


def rows(*levels: float) -> list[tuple[Interval, list[float]]]:
    found = [[x + level for x in SEEDS] for level in levels]
    return [(t_interval(values), values) for values in found]


@pytest.mark.parametrize(
    ("levels", "low", "high"),
    [
        ((0.0,), 0.0, 0.04),
        ((0.0, -0.8), -0.8, 0.04),  # of two rows neither is the outlier
        ((0.0, 0.01, -0.8), 0.0, 0.05),
        ((0.0, 0.01, 0.02, 0.5, -0.6), 0.0, 0.06),
        ((0.2, 0.23, 0.39, 0.17, 0.0), 0.0, 0.43),  # spread out, but none of them apart
    ],
)
def test_rows_far_from_the_others_do_not_set_the_axis(levels: tuple[float, ...], low: float, high: float) -> None:
    found = span(rows(*levels))
    room = found.high - found.low
    assert low - 0.15 * room <= found.low <= low
    assert high - 0.25 * room <= found.high <= high + 0.15 * room


def test_a_seed_far_from_its_row_does_not_set_the_axis() -> None:
    values = [*SEEDS, -0.8]
    found = span([(Interval(0.02, 0.0, 0.03, 6), values)])
    assert found.low > -0.1


def test_margins_zero_and_endless_intervals() -> None:
    found = span([(Interval(0.5, -math.inf, math.inf, 2), [0.45, 0.55])], also=[-0.03, 0.03])
    assert found.low <= -0.03
    assert 0.55 <= found.high < 1
    assert span([]).holds(0.0)


def texts(axis: object) -> list[str]:
    return [text.get_text() for text in axis.texts]  # type: ignore[attr-defined]


def test_what_lies_beyond_is_told() -> None:
    axis = Figure().subplots()
    where = Span(-0.1, 0.1)
    dots(axis, where, [0.02, -0.8, -0.5, 0.7], 0.0, "black")
    assert texts(axis) == ["−0.80 (2 seeds)", "+0.70"]
    bar(axis, where, Interval(-0.4, -0.5, -0.3, 5), 0.0, "black")
    assert texts(axis)[-1] == "−0.40"
    drawn = [tuple(line.get_xdata()) for line in axis.lines]
    assert all(where.holds(x) for xs in drawn for x in xs)


def test_seeds_of_a_mean_beyond_are_not_told_twice() -> None:
    axis = Figure().subplots()
    dots(axis, Span(-0.1, 0.1), [0.5, 0.6], 0.0, "black")
    assert texts(axis) == []
