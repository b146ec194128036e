"""Turn profiles by hand: which turns are early, which are late, what lies between."""

from typing import Any

import pytest
import torch
from kind_examples import TURNS
from pydantic import TypeAdapter

from atod_sweep.config.kinds import one_each
from atod_sweep.config.turns import CustomTurns, Thresholds, TurnProfile, Uniform
from atod_sweep.errors import UserError
from atod_sweep.objective.profiles import measured, profile

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
    weights = profile(Thresholds(shape=shape, **TEN), 10)
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
    assert profile(Thresholds(**fields), horizon) == pytest.approx(expected, abs=5e-10)


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
        profile(Thresholds(**fields), horizon)


# Every kind of profile: its settings, and g on three turns.
GOLDEN = one_each(
    TurnProfile,
    {
        "uniform": ({"value": 0.25}, [0.25, 0.25, 0.25]),
        "thresholds": ({"early_turns": 1, "late_turns": 1}, [0.9, 0.5, 0.1]),
        "product": ({"early_turns": 1, "late_turns": 1}, [0.9, 0.5, 0.1]),
        "t_dur": ({}, [1.0, 1.0, 1.0]),
        "token_level": ({}, [1.0, 1.0, 1.0]),
        "custom": ({"path": "own_ideas:first_half"}, [1.0, 1.0, 0.25]),
    },
)
_PROFILE: TypeAdapter[TurnProfile] = TypeAdapter(TurnProfile)


@pytest.mark.parametrize("kind", GOLDEN)
def test_every_kind_on_three_turns(kind: str) -> None:
    fields, expected = GOLDEN[kind]
    assert profile(_PROFILE.validate_python({"kind": kind, **fields}), 3) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("data", TURNS, ids=lambda data: data["kind"])
def test_what_every_kind_says_of_itself_is_true(data: dict[str, Any]) -> None:
    config = _PROFILE.validate_python(data)
    g_K = profile(config, 10)
    assert all(0.0 <= g <= 1.0 for g in g_K)
    assert config.by_turn == (len(set(g_K)) > 1)
    assert config.is_one() == (set(g_K) == {1.0})
    student, teacher, turn = -torch.rand(2, 6), -torch.rand(2, 6), torch.arange(6).expand(2, 6) // 2
    if config.measured:
        weight_BT = measured.weights(config, student, teacher, turn, torch.ones(2, 6))
        assert weight_BT.shape == (2, 6)
    twice = profile(config.rescaled(10, 20), 20)
    assert sum(twice) / 20 == pytest.approx(sum(g_K) / 10, abs=0.05)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CustomTurns(path="own_ideas:above_one"), r"gives 2\.0 on turn 2 of 3; a profile is from 0 to 1"),
    ],
)
def test_a_profile_of_ones_own_must_stay_in_bounds(config: TurnProfile, message: str) -> None:
    with pytest.raises(UserError, match=message):
        profile(config, 3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_weights:one_number", r"must give one weight per token, a tensor \[2, 6\]; got float"),
        ("own_weights:negative", r"gives a token the weight -1\.0; weights are finite and at least 0"),
    ],
)
def test_weights_of_ones_own_must_be_weights(path: str, message: str) -> None:
    minus_one, turn = -torch.ones(2, 6), torch.zeros(2, 6, dtype=torch.long)
    with pytest.raises(UserError, match=message):
        measured.weights(CustomTurns(path=path, weighs="tokens"), minus_one, minus_one, turn, torch.ones(2, 6))


def test_profile_needs_a_turn() -> None:
    with pytest.raises(UserError, match="got 0"):
        profile(Uniform(), 0)
