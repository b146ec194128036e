"""A cache of answers for every test, and clients that do not wait long."""

from __future__ import annotations

from pathlib import Path

import pytest

from atod_sweep.training.teachers import answers, client


@pytest.fixture(autouse=True)
def asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the answers."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(answers, "cache_dir", lambda: folder)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(client, "LONGEST_WAIT", 0.02)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return folder
