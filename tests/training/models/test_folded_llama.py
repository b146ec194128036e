"""The folded Llama is the function that transformers computes, for every setting that it claims."""

from __future__ import annotations

import pytest
import torch
from small import KIN, KINDS, LLAMA, make_model, unlike_the_start
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from atod_sweep.training.models import llama, llama_inference
from atod_sweep.training.models.llama_inference import FoldedLlama
from atod_sweep.training.models.policy import Policy


def ids(rows: int = 3, columns: int = 40) -> torch.Tensor:
    return torch.randint(0, 15, (rows, columns), generator=torch.Generator().manual_seed(0))


def everywhere() -> torch.Tensor:
    return torch.arange(ids().numel())


@pytest.mark.parametrize("words", [0, 1024], ids=["many words", "few words"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_hidden_layers": 1},
        {"head_dim": 8},
        {"tie_word_embeddings": True},
        {"rms_norm_eps": 1e-2},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        *KIN,
    ],
    ids=str,
)
def test_logits_equal_those_of_transformers(changes, words, monkeypatch):
    monkeypatch.setattr(llama, "TABLE_UP_TO", words)
    torch.manual_seed(0)
    config, make = KINDS[changes.get("kind", "llama")]
    model = unlike_the_start(make(config(**LLAMA | {k: v for k, v in changes.items() if k != "kind"})))
    assert llama.can_fold(model)
    assert (FoldedLlama(model).first is not None) == (words > 0)
    want = model.eval()(input_ids=ids()).logits.flatten(0, 1)
    few = torch.tensor([119, 3, 41, 4])  # none of some rows' positions, not in order
    for index_N in (everywhere(), few):
        assert torch.allclose(Policy(model).frozen()(ids(), index_N).logits_NV, want[index_N], rtol=0, atol=2e-5)


def test_a_frozen_policy_is_folded_and_a_learning_one_follows_its_weights():
    model = make_model("llama")
    policy = Policy(model)
    assert policy.folded is None
    before = policy(ids(), everywhere()).logits_NV
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = policy(ids(), everywhere()).logits_NV
    assert not torch.allclose(after, before, rtol=0, atol=1e-2)
    frozen = policy.frozen()
    assert frozen.folded is not None
    assert not any(p.requires_grad for p in frozen.parameters())
    assert torch.allclose(frozen(ids(), everywhere()).logits_NV, after, rtol=0, atol=2e-5)


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
def test_what_is_not_plain_llama_is_left_alone(change):
    model = LlamaForCausalLM(LlamaConfig(**LLAMA | change))
    assert not llama.can_fold(model)
    want = model(input_ids=ids()).logits.flatten(0, 1)[60:61]
    assert torch.allclose(Policy(model).frozen()(ids(), torch.tensor([60])).logits_NV, want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["llama", "llama-gqa", "qwen2", "qwen3"])
@pytest.mark.parametrize("columns", [40, llama_inference.PRODUCTS_UP_TO + 8])
def test_bfloat16_errs_no_more_than_transformers_does(name, columns):
    """Both against float32, on both ways of attending. Weights this large err much more than a trained model's."""
    ids = torch.randint(0, 15, (3, columns), generator=torch.Generator().manual_seed(0))
    index = torch.arange(ids.numel())
    want = Policy(make_model(name)).frozen()(ids, index).logits_NV.log_softmax(-1)
    half = make_model(name).to(torch.bfloat16)
    theirs = half(input_ids=ids).logits.detach().flatten(0, 1).float().log_softmax(-1)
    policy = Policy(half).frozen()
    assert policy.folded is not None
    ours = policy(ids, index).logits_NV
    assert ours.dtype == torch.float32
    error, their_error = ((x - want).abs().mean() for x in (ours.log_softmax(-1), theirs))
    assert 0 < error < 0.025  # 0.009 to 0.021 measured
    assert error < 1.2 * their_error  # 0.9 to 1.1 times it


def test_windows_other_architectures_and_precisions_are_left_alone():
    assert llama.can_fold(MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=None)))
    assert not llama.can_fold(MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=16)))
    windows = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
    assert not llama.can_fold(Qwen2ForCausalLM(Qwen2Config(**LLAMA, **windows)))
    assert not llama.can_fold(make_model("llama").to(torch.float16))
    assert not llama.can_fold(make_model("gpt2"))


def test_adapters_are_not_folded_away():
    """A loaded adapter replaces projections by modules that add something to the weight inside them."""

    class Adapted(torch.nn.Linear):
        pass

    model = make_model("llama")
    assert llama.can_fold(model)
    model.model.layers[1].mlp.down_proj = Adapted(24, 16, bias=False)
    assert not llama.can_fold(model)


def test_the_wanted_positions_of_ragged_rows():
    """By hand: of rows of 4, position 2 of row 0, all but the first of row 2 (not in order), none of row 1."""
    wanted = llama.Wanted.of(torch.tensor([11, 2, 9, 10]), rows=3, length=4)
    assert wanted.column_N.tolist() == [3, 2, 1, 2]
    assert wanted.place_N.tolist() == [6, 0, 7, 8]
    assert wanted.visible_BQT.sum(-1).tolist() == [[3, 1, 1], [1, 1, 1], [4, 2, 3]]
    q_NHD = torch.arange(1.0, 5.0)[:, None, None]
    q_BQ = wanted.queries(q_NHD)[:, 0, :, 0]
    assert q_BQ.tolist() == [[2, 0, 0], [0, 0, 0], [1, 3, 4]]
    assert wanted.attended(wanted.queries(q_NHD))[:, 0].tolist() == [1, 2, 3, 4]
