"""Next-token distributions as log-probs: tempered, cut to the likeliest tokens, their entropy; and derivatives by hand.

Gradients reach the student's log-probs only: teacher and reference are frozen. Functions of whole distributions give
their gradient in closed form, which saves autograd's copies of [N, V] tensors; exponentials are what costs here.

Log-probs below -100 count as -100. A probability of e^-100 changes no sum, but the -inf of a token that one side rules
out would make 0 * inf = NaN, and an infinite loss. Shapes: _N generated tokens, _V vocabulary, _K kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from atod_sweep.errors import UserError

FLOOR = -100.0


class _WithSlope(torch.autograd.Function):
    """`value_N` as a function of `logp_NV`, given its derivative `slope_NV` by them."""

    @staticmethod
    def forward(ctx: Any, logp_NV: Tensor, value_N: Tensor, slope_NV: Tensor) -> Tensor:
        ctx.save_for_backward(slope_NV)
        return value_N.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, None, None]:
        (slope_NV,) = ctx.saved_tensors
        return gradient_N[:, None] * slope_NV, None, None


def with_slope(logp_NV: Tensor, value_N: Tensor, slope_NV: Tensor) -> Tensor:
    """`value_N` as a function of `logp_NV`, given its derivative `slope_NV` by them.

    >>> logp = torch.tensor([[0.5, 0.5]]).log().requires_grad_()
    >>> with_slope(logp, torch.tensor([3.0]), torch.tensor([[1.0, -1.0]])).sum().backward()
    >>> logp.grad.tolist()
    [[1.0, -1.0]]
    """
    value: Tensor = _WithSlope.apply(logp_NV, value_N, slope_NV)
    return value


def floored(student_logp_NV: Tensor, teacher_logp_NV: Tensor) -> tuple[Tensor, Tensor]:
    """Copies of both, -100 at least, in the student's precision: a teacher kept in bf16 must not round differences.

    >>> student, teacher = floored(torch.tensor([0.0, -torch.inf]), torch.tensor([0.0, -1.0]).bfloat16())
    >>> student.tolist(), teacher.dtype
    ([0.0, -100.0], torch.float32)
    """
    return student_logp_NV.clamp_min(FLOOR), teacher_logp_NV.to(student_logp_NV.dtype).clamp_min(FLOOR)


def tempered(logits_NV: Tensor, temperature: float) -> Tensor:
    """Log-probs of `softmax(logits / temperature)`, in float32 at least. Raises UserError for a temperature of 0.

    | temperature | ½      | 1      | 2        |
    |-------------|--------|--------|----------|
    | odds 1 : 3  | 1 : 9  | 1 : 3  | 1 : √3   |

    >>> logits = torch.tensor([[1.0, 3.0]]).log()
    >>> [[round(p, 4) for p in tempered(logits, t).exp()[0].tolist()] for t in (0.5, 1.0, 2.0)]
    [[0.1, 0.9], [0.25, 0.75], [0.366, 0.634]]
    """
    if not temperature > 0:
        raise UserError(f"temperature: must be above 0, got {temperature}")
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    return torch.log_softmax(logits_NV if temperature == 1.0 else logits_NV / temperature, -1)


def entropy(logp_NV: Tensor) -> Tensor:
    """-sum_v p log p per token, in nats.

    >>> [round(h, 6) for h in entropy(torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]).log()).tolist()]
    [0.562335, 0.693147, 0.0]
    """
    with torch.no_grad():
        logp = logp_NV.clamp_min(FLOOR)
        p = logp.exp()
        term_NV = logp.mul_(p)
        value_N = -term_NV.sum(-1)
        slope_NV = term_NV.add_(p).neg_()
    return with_slope(logp_NV, value_N, slope_NV)


def top_k_with_tail(logp_NV: Tensor, index_NK: Tensor) -> Tensor:
    """logp_N(K+1): the log-probs at `index_NK` (distinct in each row), then that of all other tokens together.

    The tail is summed over the others, not taken as 1 - sum: with a confident teacher that difference is rounding, and
    its gradient divides by it. An empty tail (K = V) gets the smallest normal number as its mass, and no gradient.

    >>> kept = top_k_with_tail(torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log(), torch.tensor([[0, 2]]))
    >>> kept.exp().tolist()
    [[0.5, 0.125, 0.375]]
    """
    rest_N1 = logp_NV.exp().scatter(1, index_NK, 0.0).sum(1, keepdim=True)
    tail_N1 = rest_N1.clamp_min(torch.finfo(rest_N1.dtype).tiny).log()
    return torch.cat([logp_NV.gather(1, index_NK), tail_N1], 1)


def with_rest(student_logp_NV: Tensor, teacher_logp_NC: Tensor) -> tuple[Tensor, Tensor]:
    """Both over the teacher's C ids and, where the student has more, the rest as one: the teacher never says it.

    >>> student, teacher = with_rest(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[1.0]]).log())
    >>> student.exp().tolist(), teacher.tolist()
    ([[0.5, 0.5]], [[0.0, -100.0]])
    """
    known = teacher_logp_NC.shape[1]
    if student_logp_NV.shape[1] == known:
        return student_logp_NV, teacher_logp_NC
    rest_N1 = student_logp_NV[:, known:].logsumexp(1, keepdim=True)
    never_N1 = torch.full_like(teacher_logp_NC[:, :1], FLOOR)
    return torch.cat([student_logp_NV[:, :known], rest_N1], 1), torch.cat([teacher_logp_NC, never_N1], 1)
