"""Reverse KL: the student settles on one of the things that the teacher does."""

from __future__ import annotations

import torch
from torch import Tensor

from atod_sweep.objective.distributions import floored, with_slope


def reverse_kl(student_logp_NV: Tensor, teacher_logp_NV: Tensor) -> Tensor:
    """KL(student || teacher) per token, in nats: sum_v p_S (log p_S - log p_T). Mode-seeking.

    | student | teacher | KL(S, T)  |
    |---------|---------|-----------|
    | ½, ½    | ¼, ¾    | 0.143841  |
    | ¼, ¾    | ¼, ¾    | 0         |
    | ½, ½    | 0, 1    | 49.306853 |

    The last row is what a floor of -100 makes of an infinite one.

    >>> student, teacher = (torch.tensor(p).log() for p in ([[0.5, 0.5], [0.25, 0.75]], [[0.25, 0.75], [0.25, 0.75]]))
    >>> [round(x, 6) for x in reverse_kl(student, teacher).tolist()]
    [0.143841, 0.0]
    >>> [round(x, 4) for x in reverse_kl(student[:1], torch.tensor([[0.0, 1.0]]).log()).tolist()]
    [49.3069]
    """
    with torch.no_grad():
        student, teacher = floored(student_logp_NV, teacher_logp_NV)
        p_student = student.exp()
        term_NV = student.sub_(teacher).mul_(p_student)
        value_N = term_NV.sum(-1)
        slope_NV = term_NV.add_(p_student)
    return with_slope(student_logp_NV, value_N, slope_NV)
