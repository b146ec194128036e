"""Conversations of every evaluation, as people read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from small import tiny

from atod_sweep.records import layout
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.play.evaluate import evaluated


def read(folder: Any, step: int) -> list[dict[str, Any]]:
    return json.loads((folder / layout.SAMPLES / f"step-{step:06d}.json").read_text(encoding="utf-8"))


def test_the_same_tasks_at_every_evaluation_with_the_teachers_opinion(built, tmp_path):
    train(tiny(), tmp_path)
    assert sorted(path.name for path in (tmp_path / layout.SAMPLES).iterdir()) == [
        f"step-00000{step}.json" for step in (0, 2, 4)
    ]
    first, last = read(tmp_path, 0), read(tmp_path, 4)
    assert [one["task"] for one in first] == [one["task"] for one in last]
    assert len(first) == 2
    for one in first:
        assert one.keys() == {"task", "success", "reward", "dropped_turns", "turns"}
        for turn in one["turns"]:
            assert {"observation", "action", "tokens", "logp", "teacher_logp"} <= turn.keys()


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_a_model_is_of_one_mind_with_itself(built, tmp_path, temperature):
    """The student as its own teacher: log-probs of rollout and scoring are the same."""
    teacher = {"teacher__kind": "pretrained", "teacher__path": built.student.path, "teacher__dtype": "float32"}
    config = tiny(steps=1, evaluation__temperature=temperature, **teacher)
    train(config, tmp_path)
    for one in read(tmp_path, 0):
        for turn in one["turns"]:
            assert turn["logp"] == pytest.approx(turn["teacher_logp"], abs=2e-4)
    run = assemble(config, tmp_path / "again", resume=False)
    _, played, _ = evaluated(run.stage.policy, run.stage.player, config.evaluation)
    turn = read(tmp_path, 0)[0]["turns"][0]
    mine = played.logp_N[(played.sequence_N == 0) & (played.turn_N == 0)]
    assert turn["logp"] == pytest.approx(float(mine.mean()), abs=1e-4)
    assert turn["tokens"] == len(mine)


def test_without_a_teacher_there_is_no_opinion(built, tmp_path):
    train(tiny(steps=1, teacher__kind="none", objective__distill_weight=0.0), tmp_path)
    assert all("teacher_logp" not in turn for one in read(tmp_path, 0) for turn in one["turns"])


def test_they_change_nothing(built, tmp_path, monkeypatch):
    rows: list[list[dict]] = [[], []]
    train(tiny(), tmp_path / "a", rows[0].extend)
    monkeypatch.setattr("atod_sweep.training.loop.samples.of", lambda *_: [])
    train(tiny(), tmp_path / "b", rows[1].extend)
    kept = [[{k: v for k, v in row.items() if "seconds" not in k} for row in some] for some in rows]
    assert kept[0] == kept[1]
    assert torch.equal(*[_weights(tmp_path / one) for one in "ab"])


def _weights(folder: Any) -> torch.Tensor:
    from safetensors.torch import load_file

    return load_file(folder / "student" / "model.safetensors")["lm_head.weight"]
