"""Null controls in whole trials: they train, and differ from the base in the teacher's word alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small import make_model, tiny

from atod_sweep.config.base import content_hash
from atod_sweep.training.loop.cast import untrained
from atod_sweep.training.loop.trainer import train


def rows_of(folder: Path, **overrides: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    train(tiny(steps=2, **overrides), folder, rows.extend)
    return [row for row in rows if row["phase"] == "train"]


def test_every_null_control_trains_and_says_something_else_than_the_teacher(tmp_path: Path) -> None:
    kinds = ("shuffled_teacher", "random_teacher", "constant_push")
    found = {kind: rows_of(tmp_path / kind, objective__stand_in={"kind": kind}) for kind in kinds}
    found["base"] = rows_of(tmp_path / "base")
    first = {name: rows[0] for name, rows in found.items()}
    assert len({row["loss/distill"] for row in first.values()}) == 4
    assert all(math.isfinite(row["loss/distill"]) for row in first.values())
    for key in ("loss/reward", "rollout/success", "weight/distill"):  # what was played is the same
        assert len({row[key] for row in first.values()}) == 1
    assert first["shuffled_teacher"]["kl/teacher"] == first["base"]["kl/teacher"]
    assert first["random_teacher"]["kl/teacher"] != first["base"]["kl/teacher"]
    assert first["constant_push"]["cost/teacher_tokens"] == 0
    again = rows_of(tmp_path / "again", objective__stand_in={"kind": "shuffled_teacher"})
    assert [row["loss"] for row in again] == [row["loss"] for row in found["shuffled_teacher"]]


def test_a_base_without_a_null_control_has_the_hash_that_it_always_had() -> None:
    plain = tiny().model_dump(mode="json")
    assert "stand_in" not in plain["objective"]
    assert content_hash(tiny(objective__stand_in={"kind": "random_teacher"}).model_dump(mode="json")) != content_hash(
        plain
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_untrained_weights_are_the_same_every_time_and_disturb_nobody(dtype: torch.dtype) -> None:
    model = make_model("qwen3", seed=1).to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    drawn = torch.rand(2)
    torch.manual_seed(5)
    one, two = untrained(model, dtype).state_dict(), untrained(model, dtype).state_dict()
    assert torch.equal(torch.rand(2), drawn)
    assert all(torch.equal(one[name], two[name]) and one[name].dtype == dtype for name in two)
    assert not torch.equal(one["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
