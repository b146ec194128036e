"""Tokens are drawn with their probabilities, and their log-probabilities are those of the tempered softmax."""

from __future__ import annotations

import pytest
import torch

from atod_sweep.training.play.episodes import sample


def test_frequencies_are_the_probabilities():
    logits_V = torch.tensor([1.0, 0.0, -1.0, 2.0, float("-inf")])
    draws = 100_000
    token_B, logp_B = sample(
        logits_V.expand(draws, -1), 2.0, torch.rand(draws, generator=torch.Generator().manual_seed(0))
    )
    p_V = (logits_V / 2).softmax(-1)
    found_V = token_B.bincount(minlength=5) / draws
    assert (found_V - p_V).abs().max() < 5 * (0.25 / draws) ** 0.5  # five standard errors, at most
    assert found_V[4] == 0
    assert torch.allclose(logp_B, (logits_V / 2).log_softmax(-1)[token_B], atol=1e-6)


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_never_draw_what_is_impossible(u):
    never = float("-inf")
    token_B, logp_B = sample(torch.tensor([[never, 0.0, 1.0, never]]), 1.0, torch.tensor([u]))
    assert token_B.item() == (2 if u == 0 else 1)
    assert torch.isfinite(logp_B).all()


def test_temperature_zero_takes_the_likeliest():
    logits_BV = torch.tensor([[0.0, 3.0, 1.0], [5.0, 1.0, 2.0]])
    token_B, logp_B = sample(logits_BV, 0, None)
    assert token_B.tolist() == [1, 0]
    assert torch.allclose(logp_B, logits_BV.log_softmax(-1).max(-1).values)


def test_logits_that_are_not_numbers_give_a_log_probability_that_is_not_one():
    """The update names that failure; drawing must not fall over it."""
    token_B, logp_B = sample(torch.full((2, 3), float("nan")), 1.0, torch.rand(2))
    assert ((token_B >= 0) & (token_B < 3)).all()
    assert logp_B.isnan().all()
