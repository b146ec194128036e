"""Loss terms per token or per pair, and the one mean that all of them share. Shapes: _N generated tokens, _P pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from atod_sweep.errors import UserError


def clipped_surrogate(logp_N: Tensor, old_logp_N: Tensor, advantage_N: Tensor, clip: float) -> Tensor:
    """-min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A) with ratio = p / p_old (PPO, arXiv 1707.06347, eq. 7)."""
    ratio_N = (logp_N - old_logp_N.detach()).exp()
    advantage_N = advantage_N.detach()
    return -torch.minimum(ratio_N * advantage_N, ratio_N.clamp(1.0 - clip, 1.0 + clip) * advantage_N)


def clipped_value(value: Tensor, old_value: Tensor, target: Tensor, clip: float) -> Tensor:
    """max((v - target)^2, (v_clipped - target)^2) / 2, v_clipped within `clip` of the old value; any shape."""
    old_value, target = old_value.detach(), target.detach()
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum((value - target).square(), (clipped - target).square()) / 2.0


def dpo(
    chosen_logp_P: Tensor, rejected_logp_P: Tensor, ref_chosen_P: Tensor, ref_rejected_P: Tensor, beta: float
) -> Tensor:
    """-log sigmoid(beta ((chosen - ref_chosen) - (rejected - ref_rejected))) (arXiv 2305.18290, equation 7).

    Log-probs are sums over the generated tokens of a whole episode.
    """
    margin_P = (chosen_logp_P - ref_chosen_P.detach()) - (rejected_logp_P - ref_rejected_P.detach())
    return -logsigmoid(beta * margin_P)


def token_mean(term_N: Tensor, weight_N: Tensor | None, tokens: int) -> Tensor:
    """sum(term * weight) / tokens, with the *unweighted* number of generated tokens of the whole batch.

    Dividing by a weighted count would let one coefficient rescale the gradients of the others. `tokens` may exceed N
    where the batch is processed in parts. No weight means 1.
    """
    if tokens < 1:
        raise UserError(f"token_mean: a batch needs at least 1 generated token, got {tokens}")
    return (term_N if weight_N is None else term_N * weight_N).sum() / tokens
