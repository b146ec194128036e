"""Logits made of hidden states, apart from the model's forward, are those of its forward."""

from __future__ import annotations

import pytest
import torch
from small import make_model

from atod_sweep.training.models import head
from atod_sweep.training.models.policy import Policy
from benchmarks import tiny_models

NAMES = ["qwen3", "gemma2", "granite (scaled logits)", "cohere", "llama (tied head)", "gpt2", "opt"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_families_that_scale_or_cap_their_logits(name, dtype):
    policy = Policy(tiny_models.make(name).to(dtype), words=700)
    ids, index = torch.arange(24).view(2, 12), torch.tensor([0, 3, 11, 12, 20])
    said = policy(ids, index)
    late = policy.logits(policy(ids, index, silent=True).hidden_NC)
    assert torch.allclose(late, said.logits_NV, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.05)
    assert policy.at_once == 2**24 // 700


def test_compact_models_frozen_and_not():
    policy = Policy(make_model("llama"))
    ids, index = torch.arange(12).view(2, 6), torch.tensor([1, 7, 11])
    for _ in range(2):
        assert torch.equal(policy.logits(policy.hidden(ids, index)), policy(ids, index).logits_NV)
        policy.frozen()


def test_a_head_that_does_something_else_is_never_taken_apart():
    class Strange(type(make_model("gpt2"))):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits + output.logits.roll(1, -1)
            return output

    model = Strange(make_model("gpt2").config).eval()
    assert head.finish(model) is None
    policy = Policy(model)
    assert policy.at_once > 10**12
