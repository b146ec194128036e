"""The check at load tells right from wrong, chooses how to decode, and remembers what has passed."""

from __future__ import annotations

import os
from functools import wraps

import pytest
import torch
from small import make_model, tiny

from atod_sweep.config.models import Pretrained
from atod_sweep.errors import UserError
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.models import identity
from atod_sweep.training.models.load import load_model
from atod_sweep.training.models.miniature import miniature
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import check, ragged
from benchmarks import tiny_models


@pytest.fixture(autouse=True)
def no_memories(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "way"), [("mistral (window)", "batch"), ("gpt-neo", "rows"), ("qwen3.5", "rows"), ("mamba", "tokens")]
)
def test_it_chooses_the_first_way_that_agrees(name, way):
    found = check.examine(Policy(tiny_models.make(name)))
    assert found.decoding == way
    assert max(found.rollout, found.update) < 1e-4
    assert found.tokens == 255


def test_a_window_that_the_decoder_forgets_is_noticed(monkeypatch):
    """Masks as they were: causal, whatever the layer. In a batch that is wrong; a row's own cache knows better."""

    def causal(batch_size, kv_length, mask_function, **_):
        return (torch.arange(kv_length) <= slot_BL[:, None, :, None]).expand(batch_size, 1, -1, kv_length)

    def forgetful(slots):
        nonlocal slot_BL
        slot_BL = slots
        return causal

    slot_BL = torch.zeros(1)
    monkeypatch.setattr(ragged, "_boolean", forgetful)
    assert check.examine(Policy(tiny_models.make("mistral"))).decoding == "batch"
    assert check.examine(Policy(tiny_models.make("mistral (window)"))).decoding == "rows"


def live_dropout(policy: Policy, mode: bool = True) -> Policy:
    torch.nn.Module.train(policy, mode)
    return policy


@pytest.mark.parametrize("name", ["opt", "gpt-bigcode", "mixtral"])
def test_dropout_that_stays_on_is_noticed(name, monkeypatch):
    monkeypatch.setattr(Policy, "train", live_dropout)
    with pytest.raises(check.Disagrees, match=r"^the update's forward differs from the plain one by 0.\d+ nats$"):
        check.examine(Policy(tiny_models.make(name)))


def test_logits_that_depend_on_the_way_they_are_asked_for_are_noticed():
    model = tiny_models.make("qwen3")
    plain = model.forward

    @wraps(plain)
    def forward(**inputs):
        output = plain(**inputs)
        if not inputs["use_cache"]:
            output.logits = output.logits * 2
        return output

    model.forward = forward
    with pytest.raises(check.Disagrees, match=r"cached decoding disagrees.*by batch it differs by 0.\d+ nats; by rows"):
        check.examine(Policy(model, by_hand=False))


def test_a_model_that_fails_in_its_own_way_is_refused_in_one_line():
    model = tiny_models.make("qwen3")
    model.model.layers[0].self_attn.forward = lambda *_, **__: 1 / 0
    with pytest.raises(UserError) as refusal:
        check.admit(Policy(model, by_hand=False), "student.path: 'm'", "")
    assert str(refusal.value) == (
        "student.path: 'm': Qwen3ForCausalLM is not supported: its plain forward fails with ZeroDivisionError: "
        "division by zero; take another model"
    )


def test_what_has_passed_is_remembered_until_the_files_change(tmp_path, monkeypatch):
    path = tiny_models.save("qwen3", tmp_path)
    looks = []
    examine = check.examine
    monkeypatch.setattr(check, "examine", lambda policy: looks.append(1) or examine(policy))

    def load(**settings) -> Policy:
        source = Pretrained(path=str(path), **settings)
        policy = Policy(load_model(source), by_hand=False)
        check.admit(policy, "m", identity.stamp(source, policy.model))
        return policy

    for _ in range(2):
        assert load().decoding == "batch"
    assert len(looks) == 1
    load(dtype="bfloat16")
    assert len(looks) == 2
    os.utime(path / "model.safetensors", (1, 1))
    load()
    assert len(looks) == 3
    monkeypatch.setattr("transformers.__version__", "6.0")
    load()
    assert len(looks) == 4


def test_compact_models_are_spared(monkeypatch):
    monkeypatch.setattr(check, "examine", None)
    assert check.admit(Policy(make_model("llama")), "m", "") is None


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_nothing_reaches_training_that_has_not_passed(role, tmp_path):
    path = tiny_models.save("recurrent-gemma", tmp_path)
    other = {"student": "teacher", "teacher": "student"}[role]
    models = {f"{role}__path": str(path), f"{other}__path": str(tiny_models.save("qwen3", tmp_path))}
    config = tiny(student__kind="pretrained", teacher__kind="pretrained", **models)
    with pytest.raises(UserError, match=rf"^{role}.path: .*RecurrentGemmaForCausalLM is not supported"):
        assemble(config, tmp_path, resume=False)


# ---- the small copy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layers", "kinds"),
    [
        ("gemma3", 2, {"sliding_attention", "full_attention"}),  # five of one kind before the first of the other
        ("qwen3-next", 2, {"linear_attention", "full_attention"}),
        ("cohere2", 2, {"sliding_attention", "full_attention"}),
        ("mistral (window)", 2, set()),
    ],
)
def test_the_copy_has_a_layer_of_each_kind_and_short_windows(name, layers, kinds):
    small = miniature(tiny_models.make(name))
    assert small.config.num_hidden_layers == len(small.model.layers) == layers
    assert set(getattr(small.config, "layer_types", None) or []) == kinds
    assert (getattr(small.config, "sliding_window", None) or 16) == 16
    assert small.config.vocab_size == 512
    assert small.dtype == torch.float32


def test_the_copy_of_a_model_whose_depth_is_told_twice_keeps_it():
    small = miniature(tiny_models.make("gpt-neo"))
    assert small.config.window_size == 16
    assert len(small.transformer.h) == 2


def test_making_a_copy_draws_nothing_from_the_global_generator():
    model = tiny_models.make("qwen3")
    torch.manual_seed(1)
    want = torch.rand(1)
    torch.manual_seed(1)
    miniature(model)
    assert torch.rand(1) == want
