"""A signal of the user's own."""

from __future__ import annotations

from torch import Tensor

from atod_sweep.config.custom import function
from atod_sweep.errors import UserError
from atod_sweep.objective.distributions import FLOOR


def custom_signal(student_logp_NV: Tensor, teacher_logp_NV: Tensor, path: str, source: str) -> Tensor:
    """loss_N by the user's function f(student_logp_NV, teacher_logp_NV), differentiated by autograd.

    It gets log-probs of -100 at least and the teacher's without a gradient, both in the student's precision. Raises
    UserError unless it gives one number per token that depends on the student.
    """
    student = student_logp_NV.clamp_min(FLOOR)
    teacher = teacher_logp_NV.detach().to(student.dtype).clamp_min(FLOOR)
    loss_N = function(path, source)(student, teacher)
    if not isinstance(loss_N, Tensor) or loss_N.shape != student.shape[:1]:
        got = list(loss_N.shape) if isinstance(loss_N, Tensor) else type(loss_N).__name__
        raise UserError(f"path: {path!r} must give one loss per token, a tensor [{len(student)}]; got {got}")
    if student.requires_grad and not loss_N.requires_grad:
        raise UserError(f"path: {path!r} gives a loss without a gradient by the student's log-probs")
    return loss_N
