"""What a student said in its last evaluation stands in the report, whatever is in its text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atod_sweep.evidence.report.write import write
from atod_sweep.records import layout

pytestmark = pytest.mark.usefixtures("blank_pictures")

MakeRun = Callable[..., Path]


def turn(observation: str, action: str, **more: Any) -> dict[str, Any]:
    return {"observation": observation, "action": action, "tokens": 2, "logp": -0.5} | more


def test_the_last_conversations_of_the_best_arms_first_seed(make_run: MakeRun) -> None:
    run = make_run("run", {"low": 0.1, "high": 0.8})
    for trial, words in (
        ("low-s0", "of the worse arm"),
        ("high-s0", "<b>better | 1</b>"),
        ("high-s1", "the second seed"),
    ):
        folder = layout.trial_folder(run, trial) / layout.SAMPLES
        folder.mkdir()
        for step, said in ((0, "before"), (400, words)):
            turns = [
                turn("a desk", said, teacher_logp=-0.25),
                turn("a door\nagain", "x" * 999, admissible=False, cut_off=True),
            ]
            one = {"task": 7, "success": 1.0, "reward": 1.0, "dropped_turns": 0, "turns": turns}
            (folder / f"step-{step:06d}.json").write_text(json.dumps([one]))
    paths = write(run)
    page, text = paths.html.read_text(), paths.markdown.read_text()
    assert "&lt;b&gt;better | 1&lt;/b&gt;" in page
    assert "## Conversations" in text
    assert "high-s0 after 400 steps, held-out task 7: success 1.00" in text
    assert "x… (not admissible, cut off)" in text
    assert "of the worse arm" not in text
    assert "the second seed" not in text
    assert "before |" not in text
    assert all(row.count(" | ") == 4 for row in text.splitlines() if row.startswith(("| 1 | a desk", "| 2 | a door")))


def test_without_any_there_is_no_such_section(make_run: MakeRun) -> None:
    assert "Conversations" not in write(make_run("run", {"a": 0.5})).markdown.read_text()
