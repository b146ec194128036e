"""Divergences: values by hand, gradients against numerical ones, and the corners where one side has no mass."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atod_sweep.errors import UserError
from atod_sweep.objective import divergences as dv

INF = math.inf
HALVES, QUARTER = [0.5, 0.5], [0.25, 0.75]
Divergence = Callable[[Tensor, Tensor], Tensor]


def jsd_quarter(student: Tensor, teacher: Tensor) -> Tensor:
    return dv.jsd(student, teacher, 0.25)


def jsd_half(student: Tensor, teacher: Tensor) -> Tensor:
    return dv.jsd(student, teacher, 0.5)


FULL: list[Divergence] = [dv.forward_kl, dv.reverse_kl, jsd_half, jsd_quarter]


def logs(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def random_logits(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        # 0.25 ln(0.25 / 0.5) + 0.75 ln(0.75 / 0.5)
        (dv.forward_kl, 0.130812036),
        # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75)
        (dv.reverse_kl, 0.143841036),
        # M = 0.375, 0.625: the mean of KL(T || M) = 0.035374915 and KL(S || M) = 0.032269237
        (jsd_half, 0.033822076),
        # M = 0.25 T + 0.75 S = 0.4375, 0.5625: 0.25 * 0.075857607 + 0.75 * 0.007874178
        (jsd_quarter, 0.024870036),
    ],
)
def test_values_by_hand(divergence: Divergence, expected: float) -> None:
    value_N = divergence(logs(HALVES, QUARTER), logs(QUARTER, QUARTER))
    assert value_N.tolist() == pytest.approx([expected, 0.0], abs=1e-9)


def test_entropy_by_hand() -> None:
    # 0.25 ln 4 + 0.75 ln(4/3); ln 2; nothing
    value_N = dv.entropy(torch.cat([logs(QUARTER), logs(HALVES), logs([0.0, 1.0])]))
    assert value_N.tolist() == pytest.approx([0.562335145, 0.693147181, 0.0], abs=1e-9)


@pytest.mark.parametrize("divergence", FULL)
def test_gradients(divergence: Divergence) -> None:
    teacher = random_logits(4, 6, seed=1).log_softmax(-1)
    logits = random_logits(4, 6, seed=0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: divergence(x.log_softmax(-1), teacher), (logits,))
    # as a function of the log-probs themselves, without a softmax that would hide a constant
    logp = logits.detach().log_softmax(-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: divergence(x, teacher), (logp,))


def test_entropy_gradient() -> None:
    logp = random_logits(4, 6, seed=0).log_softmax(-1).requires_grad_()
    assert torch.autograd.gradcheck(dv.entropy, (logp,))


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
        (dv.forward_kl, 0.693147),
        # ln 0 counts as -100: 0.5 (ln 0.5 + 100) + 0.5 ln 0.5
        (dv.reverse_kl, 49.306853),
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
        dv.jsd(logs(HALVES), logs(QUARTER), beta)


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
    dv.reverse_kl(kept, kept.detach()).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_top_k_gradient_and_data_processing() -> None:
    teacher = random_logits(4, 8, seed=1).log_softmax(-1)
    index = teacher.topk(3, -1).indices
    coarse_teacher = dv.top_k_with_tail(teacher, index)
    logits = random_logits(4, 8, seed=0).requires_grad_()

    def coarse(x: Tensor) -> Tensor:
        return dv.forward_kl(dv.top_k_with_tail(x.log_softmax(-1), index), coarse_teacher)

    assert torch.autograd.gradcheck(coarse, (logits,))
    # merging tokens can only bring distributions closer together
    full = dv.forward_kl(logits.log_softmax(-1), teacher)
    assert (coarse(logits) < full).all()


# ---- estimators --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "twice", "half"),
    # p = 2 p_ref, and p = p_ref / 2
    [(dv.k1, 0.693147181, -0.693147181), (dv.k2, 0.240226507, 0.240226507), (dv.k3, 0.193147181, 0.306852819)],
)
def test_estimators_by_hand(estimator: Divergence, twice: float, half: float) -> None:
    logp, ref = logs([0.5, 0.25])[0], logs([0.25, 0.5])[0]
    assert estimator(logp, ref).tolist() == pytest.approx([twice, half], abs=1e-9)


def expected_over_samples(estimator: Divergence, logits: Tensor, ref: Tensor) -> Tensor:
    """The mean over tokens sampled from p, exactly: sampling carries no gradient."""
    logp = logits.log_softmax(-1)
    return (logp.detach().exp() * estimator(logp.flatten(), ref.flatten()).view_as(logp)).sum()


def test_k1_and_k3_are_unbiased_and_k2_is_not() -> None:
    logits, ref = random_logits(1, 6, seed=0), random_logits(1, 6, seed=1).log_softmax(-1)
    kl = dv.reverse_kl(logits.log_softmax(-1), ref).item()
    assert expected_over_samples(dv.k1, logits, ref).item() == pytest.approx(kl)
    assert expected_over_samples(dv.k3, logits, ref).item() == pytest.approx(kl)
    assert abs(expected_over_samples(dv.k2, logits, ref).item() - kl) > 0.1


def test_gradient_of_k2_is_that_of_the_kl_and_of_k1_nothing() -> None:
    ref = random_logits(1, 6, seed=1).log_softmax(-1)

    def gradient(value: Callable[[Tensor], Tensor]) -> Tensor:
        logits = random_logits(1, 6, seed=0).requires_grad_()
        return torch.autograd.grad(value(logits).sum(), logits)[0]

    kl = gradient(lambda x: dv.reverse_kl(x.log_softmax(-1), ref))
    torch.testing.assert_close(gradient(lambda x: expected_over_samples(dv.k2, x, ref)), kl)
    assert gradient(lambda x: expected_over_samples(dv.k1, x, ref)).abs().max() < 1e-12 < kl.abs().max()


@pytest.mark.parametrize("estimator", [dv.k1, dv.k2, dv.k3])
def test_estimators_where_the_reference_has_no_mass(estimator: Divergence) -> None:
    logp = torch.tensor([-1.0], requires_grad=True)
    value = estimator(logp, torch.tensor([-INF]))
    value.sum().backward()
    assert value.isfinite().all()
    assert logp.grad is not None
    assert logp.grad.isfinite().all()


def test_k3_keeps_its_digits_near_zero() -> None:
    """exp(d) - 1 - d computed naively is 0 or 1e-7 here in float32; d^2 / 2 is the truth."""
    value = dv.k3(torch.tensor([-1.0]), torch.tensor([-1.0 + 2.0**-12]))
    assert value.item() == pytest.approx(2.0**-25, rel=1e-3)
