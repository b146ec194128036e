"""The update's hand-written path through a compact Llama has the outputs and gradients of `transformers`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import KIN, KINDS, LLAMA, make_model, unlike_the_start
from torch import nn

from atod_sweep.training.models import llama, llama_learning
from atod_sweep.training.models.policy import Policy, checkpoint_activations


def ids(rows: int = 3, columns: int = 20) -> torch.Tensor:
    return torch.randint(0, 15, (rows, columns), generator=torch.Generator().manual_seed(0))  # padding ids among them


# Positions in any order, one twice, none of the second row: only what is asked for may matter.
INDEX = torch.tensor([3, 19, 7, 45, 59, 7])
MOST = torch.arange(60)[torch.arange(60) % 5 > 0]  # too many for the last block to put them together


def model_with(kind: str = "llama", **changes):
    torch.manual_seed(0)
    config, make = KINDS[kind]
    return unlike_the_start(make(config(**LLAMA | changes)).eval())


def through_transformers(policy: Policy) -> Policy:
    policy.compact = False
    return policy


def loss_and_gradients(policy: Policy, index_N: torch.Tensor = INDEX) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A loss that looks at logits and values, unevenly."""
    policy.zero_grad(set_to_none=True)
    output = policy(ids(), index_N)
    weight_NV = torch.linspace(-1, 2, output.logits_NV.numel()).view_as(output.logits_NV)
    loss = (weight_NV * output.logits_NV.log_softmax(-1)).sum()
    if output.value_N is not None:
        loss = loss + (torch.linspace(1, 2, len(index_N)) * (output.value_N - 1.0) ** 2).sum()
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("words", [0, 1024], ids=["many words", "few words"])
@pytest.mark.parametrize("value_head", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
        {"head_dim": 8},
        {"tie_word_embeddings": True},
        {"rms_norm_eps": 1e-2},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        *KIN,
    ],
    ids=str,
)
def test_loss_and_gradients_are_those_of_transformers(changes, value_head, words, monkeypatch):
    monkeypatch.setattr(llama, "TABLE_UP_TO", words)
    policy = Policy(model_with(**changes), value_head)
    if policy.value_head is not None:
        nn.init.normal_(policy.value_head.weight, 0.0, 0.1)  # values below 1: their errors do not cancel
    assert policy.compact
    loss, found = loss_and_gradients(policy)
    want_loss, want = loss_and_gradients(through_transformers(policy))
    assert torch.allclose(loss, want_loss, rtol=1e-5)
    assert found.keys() == want.keys()
    for name in want:
        assert (found[name] - want[name]).norm() <= 1e-5 * want[name].norm(), name


def test_few_words_are_projected_instead_of_many_positions(monkeypatch):
    policy, rows = Policy(model_with()), []
    project = llama_learning._Project.apply
    monkeypatch.setattr(llama_learning._Project, "apply", lambda x, *rest: rows.append(len(x)) or project(x, *rest))
    for words in (15, 14):
        monkeypatch.setattr(llama, "TABLE_UP_TO", words)
        policy(ids(), INDEX)
    policy(ids(1, 20), INDEX[:2])  # fewer positions than twice the words
    assert rows == [15, 60, 6, 60, 60, 6, 20, 20, 2]


def test_most_positions_may_be_wanted():
    policy = Policy(model_with(), value_head=True)
    assert llama.are_few(INDEX, ids())
    assert not llama.are_few(MOST, ids())
    loss, found = loss_and_gradients(policy, MOST)
    want_loss, want = loss_and_gradients(through_transformers(policy), MOST)
    assert torch.allclose(loss, want_loss, rtol=1e-5)
    for name in want:
        assert (found[name] - want[name]).norm() <= 1e-5 * want[name].norm(), name


def test_several_losses_of_one_graph_have_their_own_gradients():
    """A backward pass that wrote to what it was given would spoil the next one on the same graph."""
    policy = Policy(model_with(), value_head=True)
    nn.init.normal_(policy.value_head.weight)
    parameters = list(policy.model.model.parameters())
    found, want = [], []
    for path, kept in ((policy, found), (through_transformers(Policy(policy.model)), want)):
        path.value_head = policy.value_head
        output = path(ids(), INDEX)
        for loss in (output.logits_NV.square().sum(), output.value_N.sum(), output.logits_NV.logsumexp(-1).sum()):
            kept.append(torch.autograd.grad(loss, parameters, retain_graph=True))
    for mine, theirs in zip(found, want, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (a - b).norm() <= 1e-5 * b.norm() + 1e-6


def test_each_step_passes_the_numerical_gradient_check():
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    generator = torch.Generator().manual_seed(0)
    rotary_TD = torch.polar(torch.ones(4, 2, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64))
    eps = torch.tensor(1e-2, dtype=torch.float64)
    for bias in (None, draw(24)):
        assert torch.autograd.gradcheck(llama_learning._Project.apply, (draw(8, 6), draw(6), draw(24, 6), bias, eps))

    def rotate(qkv: torch.Tensor, heads: tuple[int, ...], turned: int, scale: torch.Tensor | None) -> Any:
        # which writes to what it is given
        return llama_learning._Rotate.apply(qkv.clone(), rotary_TD, heads, turned, scale, eps)

    for heads, turned in (((2, 2, 2), 4), ((4, 2, 2), 6), ((2,), 2), ((2, 2), 2)):  # two rows of four tokens
        for scale in (None, draw(turned, 4)):
            assert torch.autograd.gradcheck(rotate, (draw(8, 4 * sum(heads)), heads, turned, scale))
    leave = (draw(5, 6), draw(5, 8), draw(6, 8), draw(6), draw(14, 6), draw(6, 7), eps)
    assert torch.autograd.gradcheck(llama_learning._Leave.apply, leave)
    assert torch.autograd.gradcheck(llama_learning._Norm.apply, (draw(5, 6), draw(6), eps))


def test_no_position_may_be_wanted():
    """A data-parallel process may be left without a generated token."""
    policy = Policy(model_with())
    logits_NV = policy(ids(), torch.tensor([], dtype=torch.long)).logits_NV
    assert logits_NV.shape == (0, 15)
    logits_NV.sum().backward()
    assert all(not p.grad.any() for p in policy.parameters())


def test_who_takes_the_fast_path(monkeypatch):
    calls = []
    original = llama_learning.hidden_at
    monkeypatch.setattr(llama_learning, "hidden_at", lambda *a: calls.append(1) or original(*a))

    def is_fast(policy: Policy) -> bool:
        del calls[:]
        policy(ids(), INDEX)
        return bool(calls)

    assert is_fast(Policy(model_with()))
    assert not is_fast(Policy(model_with().to(torch.bfloat16)))
    for name in ("llama-gqa", "mistral", "qwen2", "qwen3"):
        assert is_fast(Policy(make_model(name))), name
        assert not is_fast(Policy(make_model(name), by_hand=False)), name
    for name in ("llama-biased", "llama3-rope", "gpt2"):
        assert not is_fast(Policy(make_model(name))), name
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_fast(Policy(model_with()))
    checkpointing = Policy(model_with()).train()
    checkpoint_activations(checkpointing.model)
    assert not is_fast(checkpointing)
    monkeypatch.setattr(llama, "COMPACT_PARAMETERS", 1000)
    assert not is_fast(Policy(model_with()))
