"""Turn profiles by hand: which turns are early, which are late, what lies between."""

import pytest

from atod_sweep.config.objective import Product, TDur, Thresholds, TokenLevel, TurnProfile, Uniform
from atod_sweep.errors import UserError
from atod_sweep.objective.turn_profile import profile, thresholds

TEN = {"early_turns": 2, "late_turns": 2}  # of 10 turns: the reference example


@pytest.mark.parametrize(
    ("shape", "second", "seventh"),
    [
        # one and six sevenths of the way from turn 1 to turn 8
        ("linear", 0.785714286, 0.214285714),
        ("cosine", 0.860387547, 0.139612453),
        ("exponential", 0.657539960, 0.136873811),
        ("step", 0.9, 0.9),
    ],
)
def test_reference_example(shape: str, second: float, seventh: float) -> None:
    weights = thresholds(Thresholds(shape=shape, **TEN), 10)
    assert weights[:2] == [0.9, 0.9]
    assert weights[8:] == [0.1, 0.1]
    assert [weights[2], weights[7]] == pytest.approx([second, seventh], abs=5e-10)


@pytest.mark.parametrize(
    ("fields", "horizon", "expected"),
    [
        # the same fractions at several horizons
        ({}, 5, [0.9, 0.7, 0.5, 0.3, 0.1]),
        ({}, 10, [0.9, 0.9, 0.785714286, 0.671428571, 0.557142857, 0.442857143, 0.328571429, 0.214285714, 0.1, 0.1]),
        ({}, 1, [0.5]),
        # the parts touch
        ({"early_turns": 2, "late_turns": 2}, 4, [0.9, 0.9, 0.1, 0.1]),
        ({"early_turns": 2, "late_turns": 2, "shape": "step"}, 4, [0.9, 0.9, 0.1, 0.1]),
        # one of them is everything, or nothing
        ({"early_turns": 3, "late_turns": 0}, 3, [0.9, 0.9, 0.9]),
        ({"early_turns": 0, "late_turns": 3}, 3, [0.1, 0.1, 0.1]),
        ({"early_turns": 0, "late_turns": 0}, 3, [0.7, 0.5, 0.3]),
        # turns and fractions mix
        ({"early_turns": 1, "late_fraction": 0.75}, 4, [0.9, 0.633333333, 0.366666667, 0.1]),
        ({"early_turns": 1, "late_turns": 1, "shape": "step"}, 4, [0.9, 0.9, 0.9, 0.1]),
        # rising profiles are allowed
        ({"early": 0.0, "late": 1.0}, 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_thresholds_by_hand(fields: dict[str, object], horizon: int, expected: list[float]) -> None:
    assert thresholds(Thresholds(**fields), horizon) == pytest.approx(expected, abs=5e-10)


@pytest.mark.parametrize(
    ("fields", "horizon", "message"),
    [
        ({"early_turns": 5}, 4, "early_turns: 5 turns lie beyond the horizon of 4"),
        ({"late_turns": 5}, 4, "late_turns: 5 turns lie beyond the horizon of 4"),
        ({"early_turns": 3, "late_turns": 2}, 4, "late part starts at turn 2, before the early part ends at 3"),
    ],
)
def test_thresholds_must_fit(fields: dict[str, int], horizon: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        thresholds(Thresholds(**fields), horizon)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Uniform(), [1.0, 1.0, 1.0]),
        (Uniform(value=0.25), [0.25, 0.25, 0.25]),
        (Thresholds(early_turns=1, late_turns=1), [0.9, 0.5, 0.1]),
        (Product(early_turns=1, late_turns=1), [0.9, 0.5, 0.1]),
        (TDur(), [1.0, 1.0, 1.0]),
        (TokenLevel(), [1.0, 1.0, 1.0]),
    ],
)
def test_profile_of_three_turns(config: TurnProfile, expected: list[float]) -> None:
    assert profile(config, 3) == pytest.approx(expected, abs=1e-15)


def test_profile_needs_a_turn() -> None:
    with pytest.raises(UserError, match="got 0"):
        profile(Uniform(), 0)
