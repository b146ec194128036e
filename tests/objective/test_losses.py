"""Loss terms and their gradients by hand."""

import math

import pytest
import torch

from atod_sweep.objective.losses import clipped_surrogate, clipped_value, dpo


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # on policy: the plain policy gradient
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        # good actions: clipped above, not below
        (1.19, 1.0, -1.19, -1.19),
        (1.21, 1.0, -1.2, 0.0),
        (0.5, 1.0, -0.5, -0.5),
        # bad actions: clipped below, not above
        (0.81, -1.0, 0.81, 0.81),
        (0.79, -1.0, 0.8, 0.0),
        (1.5, -1.0, 1.5, 1.5),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_surrogate(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    """The gradient is by the log-prob: -ratio * advantage where nothing is clipped."""
    old = torch.tensor([-1.5], dtype=torch.float64)
    logp = (old + math.log(ratio)).requires_grad_()
    value = clipped_surrogate(logp, old, torch.tensor([advantage], dtype=torch.float64), clip=0.2)
    (got,) = torch.autograd.grad(value.sum(), logp)
    assert [value.item(), got.item()] == pytest.approx([loss, gradient], abs=1e-12)


@pytest.mark.parametrize(
    ("value", "loss", "gradient"),
    [
        # old value 0, target 1, clip 0.2: within the clip the plain square
        (0.1, 0.405, -0.9),
        (-0.1, 0.605, -1.1),
        # beyond it towards the target: the clipped value is the worse one, and stands still
        (0.5, 0.32, 0.0),
        (1.5, 0.32, 0.0),
        # away from the target: the unclipped one is worse
        (-0.5, 1.125, -1.5),
    ],
)
def test_clipped_value(value: float, loss: float, gradient: float) -> None:
    v = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    got = clipped_value(v, torch.zeros(1), torch.ones(1), clip=0.2)
    (slope,) = torch.autograd.grad(got.sum(), v)
    assert [got.item(), slope.item()] == pytest.approx([loss, gradient], abs=1e-7)


@pytest.mark.parametrize(
    ("chosen", "rejected", "ref_chosen", "ref_rejected", "beta", "loss", "gradient"),
    [
        # no preference learnt yet: ln 2, slope -beta / 2
        (-1.0, -2.0, -1.0, -2.0, 2.0, 0.693147181, -1.0),
        # margin (0.5) - (-1) = 1.5, times 2: ln(1 + e^-3)
        (-1.0, -2.0, -1.5, -1.0, 2.0, 0.048587352, -0.094851746),
        # the margin the other way round: ln(1 + e^3)
        (-1.5, -1.0, -1.0, -2.0, 2.0, 3.048587352, -1.905148254),
        # far out: linear, and no overflow
        (-1000.0, 0.0, 0.0, 0.0, 2.0, 2000.0, -2.0),
    ],
)
def test_dpo(
    chosen: float, rejected: float, ref_chosen: float, ref_rejected: float, beta: float, loss: float, gradient: float
) -> None:
    c, r, rc, rr = (torch.tensor([x], dtype=torch.float64) for x in (chosen, rejected, ref_chosen, ref_rejected))
    c.requires_grad_()
    r.requires_grad_()
    value = dpo(c, r, rc, rr, beta)
    by_chosen, by_rejected = torch.autograd.grad(value.sum(), (c, r))
    assert value.item() == pytest.approx(loss, abs=1e-9)
    assert [by_chosen.item(), by_rejected.item()] == pytest.approx([gradient, -gradient], abs=1e-9)
