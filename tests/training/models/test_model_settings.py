"""What a model is loaded with beside its path: revision, attention kernels, code of its own; and which one it was."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from interruptions import stopped_run
from safetensors.torch import load_file, save_file
from small import tiny

from atod_sweep.config.models import Pretrained
from atod_sweep.errors import UserError
from atod_sweep.records import layout
from atod_sweep.training.failures import BadCheckpoint
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models import load
from atod_sweep.training.models.load import load_model


def pretrained(role: str, path: Any, **settings: Any) -> dict[str, Any]:
    given = {"kind": "pretrained", "path": str(path)} | settings
    return {f"{role}__{key}": value for key, value in given.items()}


class Asked(Exception):
    """What a loader was called with."""


@pytest.mark.parametrize("loader", ["AutoTokenizer", "AutoModelForCausalLM"])
def test_the_hub_is_asked_for_a_revision_and_code_is_run_only_if_allowed(monkeypatch, loader):
    def from_pretrained(path: str, **kwargs: Any) -> None:
        raise Asked(path, kwargs)

    monkeypatch.setattr(getattr(load, loader), "from_pretrained", from_pretrained)
    call = load.load_tokenizer if loader == "AutoTokenizer" else load_model
    for settings, want in (
        ({}, {"trust_remote_code": False}),
        ({"revision": "v1"}, {"trust_remote_code": False, "revision": "v1"}),
        ({"trust_remote_code": True}, {"trust_remote_code": True}),
    ):
        with pytest.raises(Asked) as asked:
            call(Pretrained(path="someone/model", **settings))
        path, kwargs = asked.value.args
        assert path == "someone/model"
        assert {key: value for key, value in kwargs.items() if key != "dtype"} == want


def test_a_folder_has_no_revisions(built):
    with pytest.raises(UserError, match=r"revision: 'v1' is of a hub's model, and '/.*' is a folder; drop it"):
        load_model(Pretrained(path=built.student.path, revision="v1"))


def test_code_of_a_model_is_run_where_the_config_says_so(built, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(built.student.path, folder)
    (folder / "own_model.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n\n\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own_llama'\n\n\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "own_llama"}
    settings |= {"auto_map": {"AutoConfig": "own_model.OwnConfig", "AutoModelForCausalLM": "own_model.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(
        UserError, match=r"brings code of its own, .*; read that code, then set trust_remote_code: true"
    ):
        load_model(Pretrained(path=str(folder)))
    assert type(load_model(Pretrained(path=str(folder), trust_remote_code=True))).__name__ == "OwnModel"


def test_attention_kernels(built):
    for kernel in ("eager", "sdpa"):
        model = load_model(Pretrained(path=built.student.path, attn_implementation=kernel))
        assert model.config._attn_implementation == kernel
    with pytest.raises(UserError, match=r"cannot be loaded: .*[Ff]lash"):
        load_model(Pretrained(path=built.student.path, attn_implementation="flash_attention_2"))


# ---- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "want"),
    [
        ({"teacher__dtype": "bfloat16"}, torch.bfloat16),
        ({"teacher__dtype": "float32"}, torch.float32),
        ({"teacher__dtype": "auto"}, torch.bfloat16),
        ({}, torch.bfloat16),  # auto is what a pretrained teacher has
        ({"teacher__dtype": "float32", "runtime__teacher_dtype": "bf16"}, torch.bfloat16),  # as old configs have it
    ],
)
def test_the_teachers_precision_has_one_key(built, tmp_path, monkeypatch, settings, want):
    """It used to have no effect."""
    monkeypatch.setattr("atod_sweep.training.runtime.cpu_computes_bf16", lambda: True)
    config = tiny(objective__kl_penalty__kind="k3", **pretrained("teacher", built.teacher.path), **settings)
    run = assemble(config, tmp_path, resume=False)
    for model in (run.stage.teacher.policy, run.algorithm.reference):
        assert {p.dtype for p in model.parameters()} == {want}
    assert {p.dtype for p in run.stage.policy.parameters()} == {torch.float32}


def test_compact_models_stay_as_they_are(built, tmp_path):
    assert tiny().frozen_dtype == "float32"
    run = assemble(tiny(teacher__dtype="bfloat16"), tmp_path, resume=False)  # of the same cached model
    assert {p.dtype for p in run.stage.teacher.policy.parameters()} == {torch.bfloat16}
    assert not (tmp_path / layout.FOUND).exists()
    assert "dtype" not in tiny().model_dump()["teacher"]


def test_what_auto_was_at_the_start_stays_on_another_machine(built, tmp_path, monkeypatch):
    config = tiny(teacher__dtype="auto")
    monkeypatch.setattr("atod_sweep.training.runtime.cpu_computes_bf16", lambda: False)
    stopped_run(config, tmp_path, 2)
    assert json.loads((tmp_path / layout.FOUND).read_text()) == {"frozen_dtype": "float32", "models": {}}
    monkeypatch.setattr("atod_sweep.training.runtime.cpu_computes_bf16", lambda: True)
    run = assemble(config, tmp_path, resume=True)
    assert run.step == 2
    assert {p.dtype for p in run.stage.teacher.policy.parameters()} == {torch.float32}
    assert {p.dtype for p in assemble(config, tmp_path, resume=False).stage.teacher.policy.parameters()} == {
        torch.bfloat16
    }


# ---- a changed model ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_another_model_under_the_same_path_is_noticed_on_resume(built, tmp_path, role):
    folder = tmp_path / "model"
    shutil.copytree(getattr(built, role).path, folder)
    config = tiny(**pretrained(role, folder, dtype="float32"))
    stopped_run(config, tmp_path / "run", 2)
    for file in folder.iterdir():  # the same model, fetched again
        os.utime(file, (1, 1))
    (folder / "README.md").write_text("a note")
    assert assemble(config, tmp_path / "run", resume=True).step == 2
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][0, 0] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadCheckpoint, match=rf"{role}.path: '.*model' holds another model than when this training beg"):
        train(config, tmp_path / "run", resume=True)
    train(config, tmp_path / "run")  # anew
    assert Path(tmp_path / "run" / "student").is_dir()


def test_runs_of_earlier_versions_go_on(built, tmp_path):
    config = tiny(**pretrained("student", built.student.path))
    stopped_run(config, tmp_path, 2)
    (tmp_path / layout.FOUND).unlink()
    assert assemble(config, tmp_path, resume=True).step == 2
    assert (tmp_path / layout.FOUND).exists()
