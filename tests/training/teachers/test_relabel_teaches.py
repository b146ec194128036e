"""Imitating a demonstrator behind a chat API teaches as much as distilling the compact teacher that it trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from desk_teacher import say
from stub_api import Stub

from atod_sweep.config.files import load_train
from atod_sweep.training.loop.trainer import train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ALONE = {"objective.distill_weight": 1.0, "steps": 100, "evaluation.every": 100, "evaluation.tasks": 512}
SMALL = {"rollout.tasks": 8, "rollout.group_size": 4, "optimiser.warmup_steps": 10}


def success(folder: Path, **settings: Any) -> float:
    given = {key.replace("__", "."): value for key, value in settings.items()}
    return train(load_train("presets/support_desk_compact", ALONE | SMALL | given), folder).final["eval/success"]


def test_relabelling_by_the_demonstrator_teaches_as_far_as_distilling(tmp_path):
    server = Stub(say=say)
    distilled = success(tmp_path / "opd")
    chat = {"teacher__kind": "chat", "teacher__url": server.url, "teacher__model": "stub"}
    imitated = success(tmp_path / "chat", objective__distill__kind="relabel", **chat)
    server.stop()
    assert imitated >= distilled  # 0.42 and 0.40 when this was written; 0.62 and 0.59 after 200 steps
