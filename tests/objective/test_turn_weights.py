"""T-DUR against tables worked by hand. Log-probs are chosen so that every mean is a short decimal."""

import math

import pytest
import torch

from atod_sweep.objective.turn_weights import t_dur, token_level

NAN = math.nan

# turn index, student log-prob, teacher log-prob of every generated token
FOUR_TURNS = [
    # d = mean(0.5, 0.5) = 0.5: the mean of absolute gaps, the gap of the means is 0; h = 1.0
    (0, -0.5, -1.0),
    (0, -1.5, -1.0),
    # d = 2.0, h = 2.0
    (1, -2.0, -4.0),
    # d = 1.25, h = 0.5: the teacher may be the surer one
    (2, -0.5, -1.75),
    # d = 0.875, h = 1.25
    (3, -1.25, -0.375),
]
# d scaled: 0, 1, 1/2, 1/4; h scaled: 1/3, 1, 0, 1/2; the soft or tells sum, product, maximum and mean apart
FOUR_WEIGHTS = [1 / 3, 1.0, 0.5, 0.625]


def batch(
    *trajectories: list[tuple[int, float, float]], dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, ...]:
    """student_BT, teacher_BT, turn_BT, mask_BT, with an observation token before every generated one and padding after.

    Everything outside the mask is a value that must not be read.
    """
    length = 2 * max(map(len, trajectories)) + 1
    rows = []
    for tokens in trajectories:
        row = [x for turn, student, teacher in tokens for x in ((NAN, NAN, -1, False), (student, teacher, turn, True))]
        rows.append(row + [(NAN, NAN, 99, False)] * (length - len(row)))
    student, teacher, turn, mask = ([[cell[i] for cell in row] for row in rows] for i in range(4))
    return (
        torch.tensor(student, dtype=dtype),
        torch.tensor(teacher, dtype=dtype),
        torch.tensor(turn),
        torch.tensor(mask),
    )


def test_hand_worked_table() -> None:
    weight_BK = t_dur(*batch(FOUR_TURNS))
    assert weight_BK.shape == (1, 4)
    assert weight_BK[0].tolist() == pytest.approx(FOUR_WEIGHTS, abs=1e-15)


def test_each_trajectory_is_scaled_on_its_own() -> None:
    one_turn = [(0, -0.1, -5.0), (0, -3.0, -0.2)]
    late_only = [(turn + 2, student, teacher) for turn, student, teacher in FOUR_TURNS]
    gap = [token for token in FOUR_TURNS if token[0] != 1]
    weight_BK = t_dur(*batch(FOUR_TURNS, one_turn, late_only, [], gap))
    expected = torch.tensor(
        [
            [*FOUR_WEIGHTS, 0.0, 0.0],
            # one turn has no spread: 1 - (1 - 1/2)^2
            [0.75, 0.0, 0.0, 0.0, 0.0, 0.0],
            # turns in which nothing was generated take no part and get 0
            [0.0, 0.0, *FOUR_WEIGHTS],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            # without turn 1, d runs from 0.5 to 1.25 and h from 0.5 to 1.25: (0, 2/3), (1, 0), (1/2, 1)
            [2 / 3, 0.0, 1.0, 1.0, 0.0, 0.0],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(weight_BK, expected, atol=1e-15, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_turns_of_different_length(dtype: torch.dtype) -> None:
    """Means of 1, 3 and 7 equal numbers differ in float32, which min-max scaling would blow up to 0 and 1."""
    tokens = [(turn, -1.7, -4.6) for turn, count in enumerate((1, 3, 7)) for _ in range(count)]
    weight_BK = t_dur(*batch(tokens, dtype=dtype))
    assert weight_BK.dtype == dtype
    assert weight_BK.tolist() == [[0.75, 0.75, 0.75]]


@pytest.mark.parametrize(
    ("spread", "expected"),
    [(0.0, [0.75, 0.75]), (0.9e-8, [0.75, 0.75]), (1.1e-8, [0.5, 1.0]), (1e-3, [0.5, 1.0])],
)
def test_spread_below_1e_8_counts_as_none(spread: float, expected: list[float]) -> None:
    """Only d spreads here; h is the same on both turns and stays at 1/2."""
    weight_BK = t_dur(*batch([(0, -1.0, -1.0), (1, -1.0, -1.0 - spread)]))
    assert weight_BK[0].tolist() == pytest.approx(expected, abs=1e-15)


def test_nan_stays_in_its_trajectory() -> None:
    weight_BK = t_dur(*batch(FOUR_TURNS, [(0, NAN, -1.0), (1, -1.0, -1.0)]))
    assert weight_BK[0].tolist() == pytest.approx(FOUR_WEIGHTS)
    assert weight_BK[1].isnan().any()


def test_no_generated_token_at_all() -> None:
    assert t_dur(*batch([], [])).tolist() == [[0.0], [0.0]]


def test_integer_kinds_and_numeric_masks() -> None:
    student, teacher, turn, mask = batch(FOUR_TURNS)
    assert t_dur(student, teacher, turn.to(torch.int16), mask.float())[0].tolist() == pytest.approx(FOUR_WEIGHTS)


def test_weights_carry_no_gradient() -> None:
    student, teacher, turn, mask = batch(FOUR_TURNS)
    student.requires_grad_()
    assert not t_dur(student, teacher, turn, mask).requires_grad
    assert not token_level(student, teacher, turn, mask).requires_grad


def test_token_level_by_hand() -> None:
    # d: 0, 2, 1/2, 1; h: 1, 2, 3, 1.5
    student = torch.tensor([[-1.0, NAN, -2.0, -3.0, -1.5], [NAN, NAN, -1.0, NAN, NAN]], dtype=torch.float64)
    teacher = torch.tensor([[-1.0, -9.0, -4.0, -3.5, -2.5], [NAN, NAN, -3.0, NAN, NAN]], dtype=torch.float64)
    mask = ~student.isnan()
    # d scaled: 0, 1, 1/4, 1/2; h scaled: 0, 1/2, 1, 1/4
    expected = [[0.0, 0.0, 1.0, 1.0, 0.625], [0.0, 0.0, 0.75, 0.0, 0.0]]
    assert token_level(student, teacher, torch.zeros_like(mask, dtype=torch.long), mask).tolist() == expected


def test_token_level_is_t_dur_with_single_token_turns() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = -torch.rand(2, 5, 12, generator=generator, dtype=torch.float64)
    turn = torch.arange(12).expand(5, 12)
    mask = torch.rand(5, 12, generator=generator) < 0.6
    mask[:, -1] = True
    torch.testing.assert_close(token_level(student, teacher, turn, mask), t_dur(student, teacher, turn, mask))
