"""Group-relative advantages, GAE and whitening against tables worked by hand."""

import math

import pytest
import torch

from atod_sweep.errors import UserError
from atod_sweep.objective.advantages import gae, group_relative, whiten

NAN = math.nan


def f64(rows: object) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        # mean 1/4, sample deviation 1/2 (population: 0.433): 0.75 / 0.5001 and -0.25 / 0.5001
        ([1.0, 0.0, 0.0, 0.0], [1.4997000600, -0.4999000200, -0.4999000200, -0.4999000200]),
        # mean 2, deviation 1: 1 / 1.0001
        ([1.0, 2.0, 3.0], [-0.9999000100, 0.0, 0.9999000100]),
        # two rollouts: 0.5 / (sqrt(1/2) + 1e-4)
        ([0.0, 1.0], [-0.7070067953, 0.7070067953]),
        # the constant 1e-4 damps small spreads: 1e-4 / 2e-4
        ([0.0, 1e-4, 2e-4], [-0.5, 0.0, 0.5]),
        # spread just above 1e-8 is signal, just below it none
        ([0.0, 0.0, 1.1e-8], [-3.6664e-5, -3.6664e-5, 7.3329e-5]),
        ([0.0, 0.0, 0.9e-8], [0.0, 0.0, 0.0]),
        ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_group_relative_by_hand(rewards: list[float], expected: list[float]) -> None:
    assert group_relative(f64([rewards]))[0].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("reward", [0.1, 1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_groups_without_spread_are_exactly_zero(reward: float, dtype: torch.dtype) -> None:
    advantage_BG = group_relative(torch.full((2, 7), reward, dtype=dtype))
    assert advantage_BG.dtype == dtype
    assert advantage_BG.eq(0.0).all()


def test_float32_rewards_are_reduced_in_float64() -> None:
    """The mean of these seven lies between two neighbours in float32: computed there, 2.236 comes out."""
    rewards_BG = torch.full((1, 7), 1e4)
    rewards_BG[0, 0] += 0.0078125
    # (6/7 s) / (s / sqrt(7) + 1e-4) with s = 0.0078125
    assert group_relative(rewards_BG)[0, 0].item() == pytest.approx(2.193502522, abs=1e-6)


def test_groups_are_independent_and_nan_stays_in_its_own() -> None:
    advantage_BG = group_relative(f64([[1.0, 2.0, 3.0], [NAN, 0.0, 1.0], [100.0, 200.0, 300.0]]))
    assert advantage_BG[0].tolist() == pytest.approx([-0.9999, 0.0, 0.9999], abs=1e-7)
    assert advantage_BG[1].isnan().all()
    assert advantage_BG[2].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-5)


def test_integer_rewards_give_float64() -> None:
    assert group_relative(torch.tensor([[0, 1]])).dtype == torch.float64


@pytest.mark.parametrize("shape", [(4, 1), (4, 0), (4,)])
def test_fewer_than_two_rollouts_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"at least 2 rollouts per task, got shape \[4"):
        group_relative(torch.zeros(shape))


# ---- GAE ---------------------------------------------------------------------------------------------------------

# gamma = lam = 1/2; rewards 0, 0, 1; values 1/2, 1/4, 1/2; padding is never read
REWARDS = [0.0, 0.0, 1.0, NAN]
VALUES = [0.5, 0.25, 0.5, NAN]


@pytest.mark.parametrize(
    ("bootstrap", "steps", "advantage", "target"),
    [
        # terminated: delta = -0.375, 0, 0.5
        (0.0, 3, [-0.34375, 0.125, 0.5, 0.0], [0.15625, 0.375, 1.0, 0.0]),
        # truncated with 0.8 to come: delta = -0.375, 0, 0.9
        (0.8, 3, [-0.31875, 0.225, 0.9, 0.0], [0.18125, 0.475, 1.4, 0.0]),
        # truncated a turn earlier: delta = -0.375, -0.25 + 0.4
        (0.8, 2, [-0.3375, 0.15, 0.0, 0.0], [0.1625, 0.4, 0.0, 0.0]),
        (0.8, 1, [-0.1, 0.0, 0.0, 0.0], [0.4, 0.0, 0.0, 0.0]),
        (0.8, 0, [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_gae_by_hand(bootstrap: float, steps: int, advantage: list[float], target: list[float]) -> None:
    mask = f64([[1.0] * steps + [0.0] * (4 - steps)])
    got, returns = gae(f64([REWARDS]), f64([VALUES]), f64([bootstrap]), mask, gamma=0.5, lam=0.5)
    assert got[0].tolist() == pytest.approx(advantage, abs=1e-15)
    assert returns[0].tolist() == pytest.approx(target, abs=1e-15)


def test_gae_of_a_ragged_batch_is_that_of_its_rows() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    last = f64([0.0, 0.8, 0.8, 0.8])
    got, _ = gae(f64([REWARDS] * 4), f64([VALUES] * 4), last, mask, gamma=0.5, lam=0.5)
    expected = [[-0.34375, 0.125, 0.5, 0.0], [-0.1, 0.0, 0.0, 0.0], [0.0] * 4, [-0.3375, 0.15, 0.0, 0.0]]
    torch.testing.assert_close(got, f64(expected), atol=1e-15, rtol=0)


@pytest.mark.parametrize(
    ("gamma", "lam", "advantage"),
    [
        # lam 0: the one-step error
        (0.5, 0.0, [-0.375, 0.0, 0.5]),
        # gamma = lam = 1: reward to come minus value
        (1.0, 1.0, [0.5, 0.75, 0.5]),
        # gamma and lam are not interchangeable: delta = -0.375, 0, 0.5, decay 1/4; then delta = -0.25, 0.25, 0.5
        (0.5, 0.5, [-0.34375, 0.125, 0.5]),
        (1.0, 0.25, [-0.15625, 0.375, 0.5]),
    ],
)
def test_gae_discount_and_lambda(gamma: float, lam: float, advantage: list[float]) -> None:
    got, _ = gae(f64([REWARDS[:3]]), f64([VALUES[:3]]), f64([0.0]), torch.ones(1, 3), gamma, lam)
    assert got[0].tolist() == pytest.approx(advantage, abs=1e-15)


def test_gae_refuses_a_mask_with_a_gap_and_left_padding() -> None:
    for mask in ([[1, 0, 1]], [[0, 1, 1]]):
        with pytest.raises(UserError, match="padded on the right"):
            gae(torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1), torch.tensor(mask), 1.0, 1.0)


def test_gae_carries_no_gradient() -> None:
    values = torch.zeros(1, 3, requires_grad=True)
    got, returns = gae(torch.ones(1, 3), values, torch.zeros(1), torch.ones(1, 3), 1.0, 0.9)
    assert not got.requires_grad
    assert not returns.requires_grad


# ---- whitening ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "mask", "expected"),
    [
        # sample deviation 1 (population: 0.816); what is masked is never read
        ([1.0, 2.0, 3.0, NAN], [1, 1, 1, 0], [-1.0, 0.0, 1.0, 0.0]),
        ([7.0, NAN, 9.0, NAN], [1, 0, 1, 0], [-0.70710678, 0.0, 0.70710678, 0.0]),
        ([5.0, 5.0, 5.0, 9.0], [1, 1, 1, 0], [0.0, 0.0, 0.0, 0.0]),
        ([5.0, 1.0, 1.0, 1.0], [1, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]),
        ([5.0, 1.0, 1.0, 1.0], [0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_whiten_by_hand(x: list[float], mask: list[int], expected: list[float]) -> None:
    assert whiten(torch.tensor([x]), torch.tensor([mask]))[0].tolist() == pytest.approx(expected, abs=1e-7)


def test_whiten_among_the_entries_of_several_processes() -> None:
    """1 2 | 3: mean 2 and deviation 1 of all three, of which the second process holds but one."""
    every = torch.tensor([1.0, 2.0, 3.0])
    assert whiten(torch.tensor([1.0, 2.0, NAN]), torch.tensor([1, 1, 0]), every).tolist() == [-1.0, 0.0, 0.0]
    assert whiten(torch.tensor([3.0]), torch.tensor([1]), every).tolist() == [1.0]


def test_whiten_shows_nan() -> None:
    assert whiten(torch.tensor([1.0, NAN, 2.0]), torch.ones(3)).isnan().all()
