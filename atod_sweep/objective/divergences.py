"""Distances between next-token distributions, from log-probs. Shapes: _N generated tokens, _V vocabulary, _K kept.

Gradients reach the student's log-probs only: teacher and reference are frozen. The full-distribution ones are given in
closed form, which saves autograd's copies of [N, V] tensors; exponentials are what costs here.

Log-probs below -100 count as -100. A probability of e^-100 changes no sum, but the -inf of a token that one side rules
out would make 0 * inf = NaN here, and an infinite loss there.
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


def _with_slope(logp_NV: Tensor, value_N: Tensor, slope_NV: Tensor) -> Tensor:
    value: Tensor = _WithSlope.apply(logp_NV, value_N, slope_NV)
    return value


def _floored(student_logp_NV: Tensor, teacher_logp_NV: Tensor) -> tuple[Tensor, Tensor]:
    """Copies, in the student's precision: a teacher kept in bf16 must not round the differences."""
    return student_logp_NV.clamp_min(FLOOR), teacher_logp_NV.to(student_logp_NV.dtype).clamp_min(FLOOR)


def tempered(logits_NV: Tensor, temperature: float) -> Tensor:
    """Log-probs of `softmax(logits / temperature)`, in float32 at least."""
    if not temperature > 0:
        raise UserError(f"temperature: must be above 0, got {temperature}")
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    return torch.log_softmax(logits_NV if temperature == 1.0 else logits_NV / temperature, -1)


# ---- full distributions ------------------------------------------------------------------------------------------


def forward_kl(student_logp_NV: Tensor, teacher_logp_NV: Tensor) -> Tensor:
    """KL(teacher || student) per token, in nats: sum_v p_T (log p_T - log p_S). Mass-covering."""
    with torch.no_grad():
        student, teacher = _floored(student_logp_NV, teacher_logp_NV)
        p_teacher = teacher.exp()
        value_N = teacher.sub_(student).mul_(p_teacher).sum(-1)
        slope_NV = p_teacher.neg_()
    return _with_slope(student_logp_NV, value_N, slope_NV)


def reverse_kl(student_logp_NV: Tensor, teacher_logp_NV: Tensor) -> Tensor:
    """KL(student || teacher) per token, in nats: sum_v p_S (log p_S - log p_T). Mode-seeking."""
    with torch.no_grad():
        student, teacher = _floored(student_logp_NV, teacher_logp_NV)
        p_student = student.exp()
        term_NV = student.sub_(teacher).mul_(p_student)
        value_N = term_NV.sum(-1)
        slope_NV = term_NV.add_(p_student)
    return _with_slope(student_logp_NV, value_N, slope_NV)


def jsd(student_logp_NV: Tensor, teacher_logp_NV: Tensor, beta: float) -> Tensor:
    """beta KL(T || M) + (1 - beta) KL(S || M) per token, in nats, with the mixture M = beta T + (1 - beta) S.

    Generalised Jensen-Shannon divergence (arXiv 2306.13649, equation 1). Its derivative by log p_S is
    (1 - beta) p_S (log p_S - log M): what M contributes cancels.
    """
    if not 0 < beta < 1:
        raise UserError(f"beta: must be inside (0, 1), got {beta}; use forward_kl or reverse_kl for the ends")
    with torch.no_grad():
        student, teacher = _floored(student_logp_NV, teacher_logp_NV)
        p_student, p_teacher = student.exp(), teacher.exp()
        mixture = torch.lerp(p_student, p_teacher, beta).clamp_min_(torch.finfo(student.dtype).tiny).log_()
        slope_NV = student.sub_(mixture).mul_(p_student).mul_(1.0 - beta)
        value_N = beta * teacher.sub_(mixture).mul_(p_teacher).sum(-1) + slope_NV.sum(-1)
    return _with_slope(student_logp_NV, value_N, slope_NV)


def entropy(logp_NV: Tensor) -> Tensor:
    """-sum_v p log p per token, in nats."""
    with torch.no_grad():
        logp = logp_NV.clamp_min(FLOOR)
        p = logp.exp()
        term_NV = logp.mul_(p)
        value_N = -term_NV.sum(-1)
        slope_NV = term_NV.add_(p).neg_()
    return _with_slope(logp_NV, value_N, slope_NV)


def top_k_with_tail(logp_NV: Tensor, index_NK: Tensor) -> Tensor:
    """logp_N(K+1): the log-probs at `index_NK` (distinct in each row), then that of all other tokens together.

    The tail is summed over the others, not taken as 1 - sum: with a confident teacher that difference is rounding, and
    its gradient divides by it. An empty tail (K = V) gets the smallest normal number as its mass, and no gradient.
    """
    rest_N1 = logp_NV.exp().scatter(1, index_NK, 0.0).sum(1, keepdim=True)
    tail_N1 = rest_N1.clamp_min(torch.finfo(rest_N1.dtype).tiny).log()
    return torch.cat([logp_NV.gather(1, index_NK), tail_N1], 1)


def with_rest(student_logp_NV: Tensor, teacher_logp_NC: Tensor) -> tuple[Tensor, Tensor]:
    """Both over the teacher's C ids and, where the student has more, the rest as one: the teacher never says it."""
    known = teacher_logp_NC.shape[1]
    if student_logp_NV.shape[1] == known:
        return student_logp_NV, teacher_logp_NC
    rest_N1 = student_logp_NV[:, known:].logsumexp(1, keepdim=True)
    never_N1 = torch.full_like(teacher_logp_NC[:, :1], FLOOR)
    return torch.cat([student_logp_NV[:, :known], rest_N1], 1), torch.cat([teacher_logp_NC, never_N1], 1)


# ---- estimators from sampled tokens of KL(p || p_ref), log-probs of tokens sampled from p ------------------------


def k1(logp_N: Tensor, ref_logp_N: Tensor) -> Tensor:
    """log p - log p_ref: unbiased, of either sign."""
    return logp_N - ref_logp_N.detach().clamp_min(FLOOR)


def k2(logp_N: Tensor, ref_logp_N: Tensor) -> Tensor:
    """(log p - log p_ref)^2 / 2: biased, but its gradient is that of the KL in expectation."""
    return k1(logp_N, ref_logp_N).square() / 2.0


def k3(logp_N: Tensor, ref_logp_N: Tensor) -> Tensor:
    """exp(d) - 1 - d with d = log p_ref - log p: unbiased and never negative."""
    d_N = -k1(logp_N, ref_logp_N)
    return torch.expm1(d_N) - d_N
