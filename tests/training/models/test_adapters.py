"""Adapters that a training left are taken up by the next one, by a teacher, and by an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_gguf import write_gguf
from safetensors.torch import load_file
from small import full_forward_logp, tiny
from transformers import AutoModelForCausalLM

from atod_sweep.config.models import Pretrained
from atod_sweep.errors import UserError
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.standalone import save_standalone
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models.load import load_model, load_tokenizer
from atod_sweep.training.play import check

peft = pytest.importorskip("peft", reason="needs the lora extra")
LORA = {"rank": 2, "alpha": 4.0}
IDS = torch.arange(2, 14)[None]


def student(path: Any, **settings: Any) -> dict[str, Any]:
    given = {"kind": "pretrained", "path": str(path)} | settings
    return {f"student__{key}": value for key, value in given.items()}


@pytest.fixture(scope="module")
def trained(built, tmp_path_factory) -> Path:
    """Adapters after a few steps at a rate that is felt."""
    folder = tmp_path_factory.mktemp("first")
    train(tiny(optimiser__lr=0.05, **student(built.student.path, lora=LORA)), folder)
    return folder / "student"


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def reference(built: Any, folder: Path) -> torch.Tensor:
    """As peft alone reads it."""
    base = AutoModelForCausalLM.from_pretrained(built.student.path)
    return logits(peft.PeftModel.from_pretrained(base, str(folder)))


@pytest.mark.parametrize("lora", [None, LORA, LORA | {"dropout": 0.1}])
def test_a_trained_student_is_where_the_next_training_starts(built, trained, tmp_path, lora):
    """It used to have nothing to train, or to start from the untrained base without a word."""
    untrained = AutoModelForCausalLM.from_pretrained(built.student.path)
    run = assemble(tiny(**student(trained, lora=lora)), tmp_path, resume=False)
    assert torch.allclose(logits(run.stage.policy.model), reference(built, trained), atol=1e-6)
    assert (reference(built, trained) - logits(untrained)).abs().max() > 0.05
    names = {name for name, p in run.stage.policy.named_parameters() if p.requires_grad}
    assert names
    assert all("lora_" in name for name in names)
    episodes = run.stage.play(run.stage.policy, 0)
    assert torch.allclose(episodes.logp_N, full_forward_logp(run.stage.policy.model.eval(), episodes), atol=1e-5)


def test_what_it_becomes_is_saved_as_adapters_of_the_same_base_and_exported_whole(built, trained, tmp_path):
    config = tiny(optimiser__lr=0.05, **student(trained))
    train(config, tmp_path)
    second = tmp_path / "student"
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (trained, second))
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert Path(json.loads((second / "adapter_config.json").read_text())["base_model_name_or_path"]).is_absolute()
    save_standalone(config, second, tmp_path / "whole")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    assert torch.allclose(logits(whole), reference(built, second), atol=1e-5)


def test_as_a_teacher_and_as_a_merged_folder(built, trained, tmp_path):
    model = load_model(Pretrained(path=str(trained))).merge_and_unload()
    model.save_pretrained(tmp_path / "merged")
    load_tokenizer(trained).save_pretrained(tmp_path / "merged")
    want = reference(built, trained)
    for i, path in enumerate((trained, tmp_path / "merged")):
        teacher = {"teacher__kind": "pretrained", "teacher__path": str(path), "teacher__dtype": "float32"}
        run = assemble(tiny(**teacher), tmp_path / f"run{i}", resume=False)
        assert run.stage.teacher is not None
        assert torch.allclose(logits(run.stage.teacher.policy.model), want, atol=1e-5)
    run = assemble(tiny(**student(tmp_path / "merged", lora=LORA)), tmp_path / "again", resume=False)
    assert torch.allclose(logits(run.stage.policy.model), want, atol=1e-5)


@pytest.mark.parametrize(
    ("lora", "line"),
    [
        (
            {"rank": 4, "alpha": 4.0},
            r"lora.rank: 4, but '.*student' holds adapters of rank 2, which are trained on; le",
        ),
        (LORA | {"alpha": 8.0}, "lora.alpha: 8.0, but .* adapters of alpha 4"),
        (
            LORA | {"target_modules": ["q_proj"]},
            r"lora.target_modules: \['q_proj'\], but .* target_modules \['down_proj",
        ),
        (LORA | {"modules_to_save": ["lm_head"]}, r"lora.modules_to_save: \['lm_head'\], but .* modules_to_save \[\]"),
    ],
)
def test_other_adapters_than_those_that_are_there_are_refused(trained, lora, line):
    with pytest.raises(UserError, match=line):
        load_model(Pretrained(path=str(trained), lora=lora))


def test_a_base_that_is_gone_and_adapters_of_another_kind_are_named(trained, tmp_path):
    settings = json.loads((trained / "adapter_config.json").read_text())
    for change, line in (
        (
            {"base_model_name_or_path": "/gone/away"},
            "holds adapters, and their base is not to be had: model directory '/g",
        ),
        ({"peft_type": "IA3"}, "holds adapters of kind 'IA3'; only LORA can be taken up"),
    ):
        (tmp_path / "adapter_config.json").write_text(json.dumps(settings | change))
        with pytest.raises(UserError, match=line):
            load_model(Pretrained(path=str(tmp_path)))


def test_adapters_of_a_gguf_model_remember_its_file(tmp_path):
    source = {"gguf_file": write_gguf(tmp_path / "base")}
    config = tiny(
        teacher__kind="none", objective__distill_weight=0.0, **student(tmp_path / "base", lora=LORA, **source)
    )
    train(config, tmp_path / "first")
    first = tmp_path / "first" / "student"
    for gguf_file in (None, source["gguf_file"]):
        again = tiny(teacher__kind="none", objective__distill_weight=0.0, **student(first, gguf_file=gguf_file))
        train(again, tmp_path / f"second-{gguf_file}")
        save_standalone(again, tmp_path / f"second-{gguf_file}" / "student", tmp_path / f"whole-{gguf_file}")
        third = load_model(Pretrained(path=str(tmp_path / f"second-{gguf_file}" / "student")))
        whole = AutoModelForCausalLM.from_pretrained(tmp_path / f"whole-{gguf_file}")
        assert torch.allclose(logits(third), logits(whole), atol=1e-5)


def test_whole_modules_and_dropout_of_adapters(built, tmp_path):
    lora = LORA | {"modules_to_save": ["lm_head"], "dropout": 0.5}
    config = tiny(steps=2, objective__kl_penalty__kind="k3", **student(built.student.path, lora=lora))
    run = assemble(config, tmp_path / "a", resume=False)
    policy = run.stage.policy
    names = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert {"lora" in name or "lm_head" in name for name in names} == {True}
    assert any("lm_head" in name for name in names)
    episodes = run.stage.play(policy, 0)
    assert torch.allclose(episodes.logp_N, full_forward_logp(policy.model.eval(), episodes), atol=1e-5)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.3)
    policy.train()
    passes = [policy(IDS, torch.arange(12)).logits_NV for _ in range(2)]
    assert not torch.equal(*passes)  # the update leaves inputs out
    found = check.examine(policy)  # the dropout that is wanted is no fault
    assert max(found.rollout, found.update) < 1e-5
    policy.eval()
    assert torch.equal(*[policy(IDS, torch.arange(12)).logits_NV for _ in range(2)])
    result = train(config, tmp_path / "b")
    assert result.cost["updates"] == 2
    head = load_file(tmp_path / "b" / "student" / "adapter_model.safetensors")
    assert any("lm_head" in name for name in head)
