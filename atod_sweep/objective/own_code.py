"""Functions of the user's own (`kind: custom`), tried out before anything is played.

Imports torch only where a function works on tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atod_sweep.config.custom import Custom, customs
from atod_sweep.config.reward import FunctionReward
from atod_sweep.config.schedules import CustomDecay
from atod_sweep.config.signals import CustomSignal
from atod_sweep.config.train import Train
from atod_sweep.config.turns import CustomTurns
from atod_sweep.errors import UserError, in_a_line
from atod_sweep.objective import schedules
from atod_sweep.objective.profiles import profile


def check(train: Train, where: str = "") -> None:
    """Call every function of the user's own in a trainer config as training would: decays at every step, profiles on
    every turn, what works on tensors on a small batch, with its gradient.

    UserError, which starts with `where` and the key, for a value out of bounds, one that is not finite, or whatever it
    raises.

    >>> check(Train())  # has none
    """
    for key, record in customs(train):
        try:
            _CHECKS[type(record)](record, train)
        except UserError as error:
            raise UserError(f"{where}{key}.{error}") from None
        except (Exception, SystemExit) as error:  # whatever a user's function does is said in one line, first of all
            raise UserError(f"{where}{key}.path: {record.path!r} fails: {in_a_line(error)}") from error


def _decay(record: CustomDecay, train: Train) -> None:
    schedules.weights(record, train.steps)


def _turns(record: CustomTurns, train: Train) -> None:
    profile(record, train.env.horizon)
    if record.on_tensors:
        _weights(record)


def _weights(record: CustomTurns) -> None:
    """Two episodes: turns of 2, 1 and 2 tokens, and one turn of 3 before padding."""
    import torch

    from atod_sweep.objective.profiles import measured

    mask_BT = torch.tensor([[1, 1, 0, 1, 0, 1, 1], [1, 1, 1, 0, 0, 0, 0]])
    turn_BT = torch.tensor([[0, 0, 0, 1, 0, 2, 2], [0, 0, 0, 0, 0, 0, 0]])
    student, teacher = -3.0 * torch.rand(2, *mask_BT.shape, generator=torch.Generator().manual_seed(0)) * mask_BT
    measured.weights(record, student, teacher, turn_BT, mask_BT)


def _signal(record: CustomSignal, train: Train) -> None:
    """Random distributions of five tokens; on two rows one side rules a token out."""
    import torch

    from atod_sweep.objective.signals import SIGNALS, Divergence, numbers

    signal = SIGNALS[record.kind]
    assert isinstance(signal, Divergence)
    student, teacher = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    student[0, 1] = teacher[1, 2] = -torch.inf
    student.requires_grad_()
    loss_N = signal.loss(student.log_softmax(-1), teacher.log_softmax(-1), **numbers(record))
    if not loss_N.isfinite().all():
        raise UserError(
            f"path: {record.path!r} gives the loss {loss_N[~loss_N.isfinite()][0].item()}; it must be finite"
        )
    (gradient,) = torch.autograd.grad(loss_N.sum(), student)
    if not gradient.isfinite().all():
        raise UserError(f"path: {record.path!r} has a gradient that is not finite where a token has no probability")


def _found(record: FunctionReward, _: Train) -> None:
    """It is there; what it makes of conversations shows at the evaluation before the first step."""
    assert callable(record.function)


_CHECKS: dict[type[Custom], Callable[[Any, Train], None]] = {
    CustomDecay: _decay,
    CustomTurns: _turns,
    CustomSignal: _signal,
    FunctionReward: _found,
}
