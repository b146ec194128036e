"""The README's Python, run as it stands on a run of seconds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import atod_sweep as atod

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_from_study_to_frame_to_export(tiny, tmp_path, monkeypatch, capsys, blank_pictures):
    monkeypatch.chdir(tmp_path)

    def run(study):
        return atod.load(shutil.copytree(tiny.folder, tmp_path / "runs" / study))

    monkeypatch.setattr(atod, "run", run, raising=False)
    section = README[README.index("## From Python") :]
    snippet = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 12
    exec(compile(snippet, "README", "exec"), {})
    assert (tmp_path / "curves.png").stat().st_size > 0
    assert (tmp_path / "exported").is_dir()
    assert "weighted" in capsys.readouterr().out
