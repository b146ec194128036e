"""Generalised Jensen-Shannon divergence: between forward and reverse KL."""

from __future__ import annotations

import torch
from torch import Tensor

from atod_sweep.errors import UserError
from atod_sweep.objective.distributions import floored, with_slope


def jsd(student_logp_NV: Tensor, teacher_logp_NV: Tensor, beta: float) -> Tensor:
    """beta KL(T || M) + (1 - beta) KL(S || M) per token, in nats, with the mixture M = beta T + (1 - beta) S.

    Generalised Jensen-Shannon divergence (arXiv 2306.13649, equation 1). Its derivative by log p_S is
    (1 - beta) p_S (log p_S - log M): what M contributes cancels. Raises UserError for a beta outside (0, 1).

    | student | teacher | beta | divergence |
    |---------|---------|------|------------|
    | ½, ½    | ¼, ¾    | ½    | 0.033822   |
    | ½, ½    | ¼, ¾    | ¼    | 0.024870   |
    | ½, ½    | 0, 1    | ½    | 0.215762   |

    >>> student, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> [round(jsd(student, teacher, beta).item(), 6) for beta in (0.5, 0.25)]
    [0.033822, 0.02487]
    >>> round(jsd(student, torch.tensor([[0.0, 1.0]]).log(), 0.5).item(), 6)
    0.215762
    """
    if not 0 < beta < 1:
        raise UserError(f"beta: must be inside (0, 1), got {beta}; use forward_kl or reverse_kl for the ends")
    with torch.no_grad():
        student, teacher = floored(student_logp_NV, teacher_logp_NV)
        p_student, p_teacher = student.exp(), teacher.exp()
        mixture = torch.lerp(p_student, p_teacher, beta).clamp_min_(torch.finfo(student.dtype).tiny).log_()
        slope_NV = student.sub_(mixture).mul_(p_student).mul_(1.0 - beta)
        value_N = beta * teacher.sub_(mixture).mul_(p_teacher).sum(-1) + slope_NV.sum(-1)
    return with_slope(student_logp_NV, value_N, slope_NV)
