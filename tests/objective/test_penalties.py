"""Estimators of the KL from sampled tokens: values, bias and gradients, by hand and against the exact KL."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atod_sweep.objective.penalties import k1, k2, k3
from atod_sweep.objective.signals.reverse_kl import reverse_kl

INF = math.inf
Estimator = Callable[[Tensor, Tensor], Tensor]


def logs(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def random_logits(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("estimator", "twice", "half"),
    # p = 2 p_ref, and p = p_ref / 2
    [(k1, 0.693147181, -0.693147181), (k2, 0.240226507, 0.240226507), (k3, 0.193147181, 0.306852819)],
)
def test_estimators_by_hand(estimator: Estimator, twice: float, half: float) -> None:
    logp, ref = logs([0.5, 0.25])[0], logs([0.25, 0.5])[0]
    assert estimator(logp, ref).tolist() == pytest.approx([twice, half], abs=1e-9)


def expected_over_samples(estimator: Estimator, logits: Tensor, ref: Tensor) -> Tensor:
    """The mean over tokens sampled from p, exactly: sampling carries no gradient."""
    logp = logits.log_softmax(-1)
    return (logp.detach().exp() * estimator(logp.flatten(), ref.flatten()).view_as(logp)).sum()


def test_k1_and_k3_are_unbiased_and_k2_is_not() -> None:
    logits, ref = random_logits(1, 6, seed=0), random_logits(1, 6, seed=1).log_softmax(-1)
    kl = reverse_kl(logits.log_softmax(-1), ref).item()
    assert expected_over_samples(k1, logits, ref).item() == pytest.approx(kl)
    assert expected_over_samples(k3, logits, ref).item() == pytest.approx(kl)
    assert abs(expected_over_samples(k2, logits, ref).item() - kl) > 0.1


def test_gradient_of_k2_is_that_of_the_kl_and_of_k1_nothing() -> None:
    ref = random_logits(1, 6, seed=1).log_softmax(-1)

    def gradient(value: Callable[[Tensor], Tensor]) -> Tensor:
        logits = random_logits(1, 6, seed=0).requires_grad_()
        return torch.autograd.grad(value(logits).sum(), logits)[0]

    kl = gradient(lambda x: reverse_kl(x.log_softmax(-1), ref))
    torch.testing.assert_close(gradient(lambda x: expected_over_samples(k2, x, ref)), kl)
    assert gradient(lambda x: expected_over_samples(k1, x, ref)).abs().max() < 1e-12 < kl.abs().max()


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_estimators_where_the_reference_has_no_mass(estimator: Estimator) -> None:
    logp = torch.tensor([-1.0], requires_grad=True)
    value = estimator(logp, torch.tensor([-INF]))
    value.sum().backward()
    assert value.isfinite().all()
    assert logp.grad is not None
    assert logp.grad.isfinite().all()


def test_k3_keeps_its_digits_near_zero() -> None:
    """exp(d) - 1 - d computed naively is 0 or 1e-7 here in float32; d^2 / 2 is the truth."""
    value = k3(torch.tensor([-1.0]), torch.tensor([-1.0 + 2.0**-12]))
    assert value.item() == pytest.approx(2.0**-25, rel=1e-3)
