"""Tempering, entropy and the cut to the likeliest tokens: by hand, with gradients against numerical ones."""

import math

import pytest
import torch
from torch import Tensor

from atod_sweep.errors import UserError
from atod_sweep.objective import distributions as dv
from atod_sweep.objective.signals.forward_kl import forward_kl
from atod_sweep.objective.signals.reverse_kl import reverse_kl

INF = math.inf
HALVES, QUARTER = [0.5, 0.5], [0.25, 0.75]


def logs(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def random_logits(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_entropy_by_hand() -> None:
    # 0.25 ln 4 + 0.75 ln(4/3); ln 2; nothing
    value_N = dv.entropy(torch.cat([logs(QUARTER), logs(HALVES), logs([0.0, 1.0])]))
    assert value_N.tolist() == pytest.approx([0.562335145, 0.693147181, 0.0], abs=1e-9)


def test_entropy_gradient() -> None:
    logp = random_logits(4, 6, seed=0).log_softmax(-1).requires_grad_()
    assert torch.autograd.gradcheck(dv.entropy, (logp,))


# ---- temperature, top k ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [0.25, 0.75]), (0.5, [0.1, 0.9]), (2.0, [0.366025404, 0.633974596])],
)
def test_tempered(temperature: float, expected: list[float]) -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
    assert dv.tempered(logits, temperature).exp()[0].tolist() == pytest.approx(expected, abs=1e-9)


def test_tempered_leaves_bf16_before_it_computes() -> None:
    logits = random_logits(4, 16, seed=0).bfloat16()
    assert torch.equal(dv.tempered(logits, 0.7), dv.tempered(logits.float(), 0.7))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_tempered_refuses(temperature: float) -> None:
    with pytest.raises(UserError, match=f"above 0, got {temperature}"):
        dv.tempered(torch.zeros(1, 2), temperature)


def test_top_k_with_tail_by_hand() -> None:
    logp = logs([0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4])
    kept = dv.top_k_with_tail(logp, torch.tensor([[0, 2], [3, 1]]))
    torch.testing.assert_close(kept, logs([0.5, 0.125, 0.375], [0.4, 0.2, 0.4]))


def test_a_tiny_tail_is_exact_and_its_gradient_bounded() -> None:
    """1 - (sum of the kept) would be 0 or rounding here."""
    logits = torch.tensor([[30.0, 0.0, 0.0, -INF]], requires_grad=True)
    kept = dv.top_k_with_tail(logits.log_softmax(-1), torch.tensor([[0]]))
    assert kept[0, 1].item() == pytest.approx(math.log(2.0) - 30.0, rel=1e-6)
    kept[0, 1].backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([-1.0, 0.5, 0.5, 0.0], abs=1e-6)


def test_keeping_everything_leaves_an_empty_finite_tail() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    kept = dv.top_k_with_tail(logits.log_softmax(-1), torch.tensor([[2, 0, 1]]))
    assert kept[0, 3].item() < -80
    reverse_kl(kept, kept.detach()).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_top_k_gradient_and_data_processing() -> None:
    teacher = random_logits(4, 8, seed=1).log_softmax(-1)
    index = teacher.topk(3, -1).indices
    coarse_teacher = dv.top_k_with_tail(teacher, index)
    logits = random_logits(4, 8, seed=0).requires_grad_()

    def coarse(x: Tensor) -> Tensor:
        return forward_kl(dv.top_k_with_tail(x.log_softmax(-1), index), coarse_teacher)

    assert torch.autograd.gradcheck(coarse, (logits,))
    # merging tokens can only bring distributions closer together
    full = forward_kl(logits.log_softmax(-1), teacher)
    assert (coarse(logits) < full).all()
