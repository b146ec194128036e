"""Forward KL: the student covers whatever the teacher does."""

from __future__ import annotations

import torch
from torch import Tensor

from atod_sweep.objective.distributions import floored, with_slope


def forward_kl(student_logp_NV: Tensor, teacher_logp_NV: Tensor) -> Tensor:
    """KL(teacher || student) per token, in nats: sum_v p_T (log p_T - log p_S). Mass-covering.

    | student | teacher | KL(T, S) |
    |---------|---------|----------|
    | ½, ½    | ¼, ¾    | 0.130812 |
    | ¼, ¾    | ¼, ¾    | 0        |
    | ½, ½    | 0, 1    | 0.693147 |

    >>> student, teacher = (torch.tensor(p).log() for p in ([[0.5, 0.5], [0.25, 0.75]], [[0.25, 0.75], [0.25, 0.75]]))
    >>> [round(x, 6) for x in forward_kl(student, teacher).tolist()]
    [0.130812, 0.0]
    >>> [round(x, 6) for x in forward_kl(student[:1], torch.tensor([[0.0, 1.0]]).log()).tolist()]
    [0.693147]
    """
    with torch.no_grad():
        student, teacher = floored(student_logp_NV, teacher_logp_NV)
        p_teacher = teacher.exp()
        value_N = teacher.sub_(student).mul_(p_teacher).sum(-1)
        slope_NV = p_teacher.neg_()
    return with_slope(student_logp_NV, value_N, slope_NV)
