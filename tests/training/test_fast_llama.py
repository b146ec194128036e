"""The fast Llama forward is the function that transformers computes, and so is its gradient."""

from __future__ import annotations

import pytest
import torch
from small import LLAMA, make_model
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from atod_sweep.training import llama
from atod_sweep.training.policy import Policy


def ids(rows: int = 3, columns: int = 40) -> torch.Tensor:
    return torch.randint(0, 15, (rows, columns), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["llama", "llama-gqa"])
def test_hidden_states_and_every_gradient_equal_those_of_transformers(name):
    model = make_model(name)
    weight = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(1))
    want = model.model(input_ids=ids()).last_hidden_state
    want_gradients = torch.autograd.grad((want * weight).sum(), list(model.model.parameters()))
    have = llama.of(model).hidden(ids())
    have_gradients = torch.autograd.grad((have * weight).sum(), list(model.model.parameters()))
    assert torch.allclose(have, want, rtol=0, atol=2e-5)
    names = [name for name, _ in model.model.named_parameters()]
    for parameter, have_g, want_g in zip(names, have_gradients, want_gradients, strict=True):
        assert want_g.norm() > 0
        assert (have_g - want_g).norm() <= 1e-5 * want_g.norm(), parameter


def test_gradients_in_float64_equal_finite_differences():
    """The hand-written backward passes, on their own."""
    generator = torch.Generator().manual_seed(0)
    angle = torch.randn(4, 1, 3, generator=generator, dtype=torch.double)
    qk = torch.randn(2, 4, 3, 6, generator=generator, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda x: llama._Rotate.apply(x, angle.cos(), angle.sin()), qk)
    gate_up = torch.randn(2, 5, 8, generator=generator, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(llama._SwiGLU.apply, gate_up)


@pytest.mark.parametrize(
    "changes",
    [
        {"head_dim": 8},
        {"tie_word_embeddings": True},
        {"rms_norm_eps": 1e-2},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
    ],
    ids=lambda c: next(iter(c)),
)
def test_settings_that_the_fast_path_has_to_read_off_the_config(changes):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**LLAMA | changes)).eval()
    fast = llama.of(model)
    assert fast is not None
    want = model.model(input_ids=ids()).last_hidden_state
    assert torch.allclose(fast.hidden(ids()), want, rtol=0, atol=2e-5)


def test_the_fast_path_sees_weights_that_have_moved():
    model = make_model("llama")
    policy = Policy(model)
    before = policy(ids(), torch.tensor([60])).logits_NV
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = policy(ids(), torch.tensor([60])).logits_NV
    assert not torch.allclose(after, before, rtol=0, atol=1e-2)
    assert torch.allclose(after[0], model(input_ids=ids()).logits.flatten(0, 1)[60], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_is_not_plain_llama_takes_the_generic_path(change):
    model = LlamaForCausalLM(LlamaConfig(**LLAMA | change))
    assert llama.of(model) is None
    want = model(input_ids=ids()).logits.flatten(0, 1)[60:61]
    assert torch.allclose(Policy(model)(ids(), torch.tensor([60])).logits_NV, want, rtol=0, atol=2e-5)


def test_other_architectures_and_checkpointing_take_the_generic_path():
    sizes = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    assert llama.of(MistralForCausalLM(MistralConfig(**sizes))) is None
    model = make_model("llama")
    model.gradient_checkpointing_enable()
    assert llama.of(model) is None
