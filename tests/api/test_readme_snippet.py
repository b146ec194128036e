"""The README's Python, run as it stands on a study of seconds."""

from __future__ import annotations

import re
from pathlib import Path

import atod_sweep as atod

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SMALL = {
    "teacher.recipe.steps": 3,
    "teacher.hidden": 16,
    "student.hidden": 16,
    "student.recipe.steps": 10,
    "student.recipe.success": [0.0, 1.0],
    "rollout.tasks": 2,
    "rollout.group_size": 2,
    "evaluation.tasks": 8,
    "evaluation.every": 2,
    "steps": 4,
}


def test_from_study_to_frame_to_export(tmp_path, monkeypatch, capsys, blank_pictures):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))
    real = atod.run

    def run(study):
        return real(study, overrides=SMALL, seeds=2, backend="local", verbosity=-1)

    monkeypatch.setattr(atod, "run", run, raising=False)
    section = README[README.index("## From Python") :]
    snippet = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 12
    exec(compile(snippet, "README", "exec"), {})
    assert (tmp_path / "curves.png").stat().st_size > 0
    assert (tmp_path / "exported").is_dir()
    assert "cosine" in capsys.readouterr().out
