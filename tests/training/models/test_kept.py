"""What a process loads once gives every trial the rows that it would have had by itself, and is never what learns."""

from __future__ import annotations

import os

import pytest
import torch
from small import tiny

from atod_sweep.config.models import Pretrained
from atod_sweep.training.loop import trainer
from atod_sweep.training.models import kept
from benchmarks import tiny_models

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny_models.save("qwen3", tmp_path_factory.mktemp("models")))


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(kept, "_frozen", None)
    monkeypatch.setattr(kept, "_tokenizers", {})


def trained(folder, out, seed, **more):
    """Rows of a trial, without its seconds."""
    model = {"kind": "pretrained", "path": folder, "dtype": "float32"}
    env = {"id": "support_desk", "horizon": 4, "kwargs": {"style": "natural"}}
    config = tiny(env=env, student=model, teacher=model, steps=2, seed=seed, **{"rollout__max_action_tokens": 6} | more)
    rows = []
    trainer.train(config, out, rows.extend)
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_later_trial_has_the_rows_that_it_would_have_alone(folder, tmp_path):
    trained(folder, tmp_path / "a", seed=0)
    teacher = kept._frozen.model
    before = weights(teacher).clone()
    later = trained(folder, tmp_path / "b", seed=1)
    assert kept._frozen.model is teacher
    assert torch.equal(weights(teacher), before)  # the student, which learned, has the same source
    kept.forget()
    kept._tokenizers.clear()
    assert trained(folder, tmp_path / "c", seed=1) == later
    assert kept._frozen.model is not teacher


def test_a_model_is_loaded_anew_where_something_differs_or_a_pass_was_cut_off(folder):
    def frozen(dtype=torch.float32, **more):
        found = kept.frozen(CPU, Pretrained(path=folder, **more), dtype)
        kept.rest()
        return found

    first = frozen()
    assert frozen() is first
    assert frozen(torch.bfloat16).dtype == torch.bfloat16
    second = frozen()
    assert second is not first
    assert frozen(attn_implementation="eager") is not second
    third = frozen()
    os.utime(f"{folder}/model.safetensors")  # another file, by its time
    fourth = frozen()
    assert fourth is not third
    kept.frozen(CPU, Pretrained(path=folder), torch.float32)
    assert frozen() is not fourth, "the trial before it was stopped inside a pass"
    kept.forget()
    assert kept._frozen is None


def test_a_trial_that_is_stopped_where_it_reports_leaves_the_teacher_whole(folder, tmp_path, monkeypatch):
    class Enough(Exception):
        """Ends a trial."""

    def stop(rows):
        raise Enough

    model = {"kind": "pretrained", "path": folder, "dtype": "float32"}
    config = tiny(env={"id": "support_desk", "kwargs": {"style": "natural"}}, student=model, teacher=model)
    with pytest.raises(Enough):
        trainer.train(config, tmp_path / "pruned", stop)
    assert kept._frozen.is_idle
    monkeypatch.setattr("atod_sweep.training.loop.update.Updater.apply", lambda *_: stop(None))
    with pytest.raises(Enough):
        trainer.train(config, tmp_path / "broken", lambda rows: None)
    assert not kept._frozen.is_idle


def test_a_trial_without_a_teacher_keeps_none(folder, tmp_path):
    trained(folder, tmp_path / "a", seed=0)
    assert kept._frozen is not None
    alone = {"teacher": {"kind": "none"}, "objective__distill_weight": 0.0}
    model = {"kind": "pretrained", "path": folder, "dtype": "float32"}
    env = {"id": "support_desk", "horizon": 4, "kwargs": {"style": "natural"}}
    trainer.train(tiny(env=env, student=model, steps=1, **alone), tmp_path / "b", lambda rows: None)
    assert kept._frozen is None
