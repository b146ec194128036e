"""Divergences: values by hand, gradients against numerical ones, and the corners where one side has no mass."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atod_sweep.errors import UserError
from atod_sweep.objective.signals.forward_kl import forward_kl
from atod_sweep.objective.signals.jsd import jsd
from atod_sweep.objective.signals.reverse_kl import reverse_kl

INF = math.inf
HALVES, QUARTER = [0.5, 0.5], [0.25, 0.75]
Divergence = Callable[[Tensor, Tensor], Tensor]


def jsd_quarter(student: Tensor, teacher: Tensor) -> Tensor:
    return jsd(student, teacher, 0.25)


def jsd_half(student: Tensor, teacher: Tensor) -> Tensor:
    return jsd(student, teacher, 0.5)


FULL: list[Divergence] = [forward_kl, reverse_kl, jsd_half, jsd_quarter]


def logs(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def random_logits(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        # 0.25 ln(0.25 / 0.5) + 0.75 ln(0.75 / 0.5)
        (forward_kl, 0.130812036),
        # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75)
        (reverse_kl, 0.143841036),
        # M = 0.375, 0.625: the mean of KL(T || M) = 0.035374915 and KL(S || M) = 0.032269237
        (jsd_half, 0.033822076),
        # M = 0.25 T + 0.75 S = 0.4375, 0.5625: 0.25 * 0.075857607 + 0.75 * 0.007874178
        (jsd_quarter, 0.024870036),
    ],
)
def test_values_by_hand(divergence: Divergence, expected: float) -> None:
    value_N = divergence(logs(HALVES, QUARTER), logs(QUARTER, QUARTER))
    assert value_N.tolist() == pytest.approx([expected, 0.0], abs=1e-9)


@pytest.mark.parametrize("divergence", FULL)
def test_gradients(divergence: Divergence) -> None:
    teacher = random_logits(4, 6, seed=1).log_softmax(-1)
    logits = random_logits(4, 6, seed=0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: divergence(x.log_softmax(-1), teacher), (logits,))
    # as a function of the log-probs themselves, without a softmax that would hide a constant
    logp = logits.detach().log_softmax(-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: divergence(x, teacher), (logp,))


@pytest.mark.parametrize("divergence", FULL)
def test_inputs_are_left_alone_and_the_teacher_gets_no_gradient(divergence: Divergence) -> None:
    student, teacher = (random_logits(3, 5, seed=s).log_softmax(-1).requires_grad_() for s in (0, 1))
    before = student.detach().clone(), teacher.detach().clone()
    divergence(student, teacher).sum().backward()
    assert torch.equal(student, before[0])
    assert torch.equal(teacher, before[1])
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("divergence", FULL)
def test_float32_agrees_with_float64(divergence: Divergence) -> None:
    student, teacher = random_logits(64, 256, seed=0), random_logits(64, 256, seed=1)
    exact = divergence(student.log_softmax(-1), teacher.log_softmax(-1))
    rounded = divergence(student.float().log_softmax(-1), teacher.float().log_softmax(-1))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("divergence", FULL)
def test_a_teacher_kept_in_bf16_is_rounded_once(divergence: Divergence) -> None:
    student = random_logits(8, 32, seed=0, dtype=torch.float32).log_softmax(-1)
    teacher = random_logits(8, 32, seed=1, dtype=torch.float32).log_softmax(-1).bfloat16()
    assert torch.equal(divergence(student, teacher), divergence(student, teacher.float()))


# ---- no mass on one side -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        # S = 1/2, 1/2 and T = 0, 1
        (forward_kl, 0.693147),
        # ln 0 counts as -100: 0.5 (ln 0.5 + 100) + 0.5 ln 0.5
        (reverse_kl, 49.306853),
        (jsd_half, 0.215762),
    ],
)
def test_teacher_without_mass(divergence: Divergence, expected: float, dtype: torch.dtype) -> None:
    logits = torch.zeros(1, 2, dtype=dtype, requires_grad=True)
    value_N = divergence(logits.log_softmax(-1), logs([0.0, 1.0]).to(dtype))
    value_N.sum().backward()
    assert value_N.item() == pytest.approx(expected, abs=1e-5)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    # the student is pushed away from the token that the teacher rules out
    assert logits.grad[0, 0] > 0 > logits.grad[0, 1]


@pytest.mark.parametrize("divergence", FULL)
def test_student_without_mass_is_finite(divergence: Divergence) -> None:
    logits = torch.tensor([[-INF, 0.0, 0.0]], requires_grad=True)
    value_N = divergence(logits.log_softmax(-1), torch.tensor([[0.25, 0.5, 0.25]]).log())
    value_N.sum().backward()
    assert value_N.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("divergence", FULL)
def test_a_token_that_both_rule_out_does_not_exist(divergence: Divergence) -> None:
    value_N = divergence(logs([0.5, 0.0, 0.5]), logs([0.25, 0.0, 0.75]))
    torch.testing.assert_close(value_N, divergence(logs(HALVES), logs(QUARTER)))


@pytest.mark.parametrize("divergence", FULL)
def test_the_same_where_the_processor_flushes_denormals(divergence: Divergence) -> None:
    """e^-100 is a denormal number in float32; a processor told to flush those makes it 0."""
    student, teacher = logs([0.5, 0.0, 0.5]).float(), logs([0.25, 0.0, 0.75]).float()
    expected = divergence(student, teacher)
    torch.set_flush_denormal(True)
    try:
        torch.testing.assert_close(divergence(student, teacher), expected)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("divergence", FULL)
@pytest.mark.parametrize("side", [0, 1])
def test_nan_is_shown(divergence: Divergence, side: int) -> None:
    pair = [logs(HALVES, HALVES), logs(QUARTER, QUARTER)]
    pair[side][0, 0] = math.nan
    assert divergence(*pair).isnan().tolist() == [True, False]


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, math.nan])
def test_jsd_refuses(beta: float) -> None:
    with pytest.raises(UserError, match=f"got {beta}"):
        jsd(logs(HALVES), logs(QUARTER), beta)
