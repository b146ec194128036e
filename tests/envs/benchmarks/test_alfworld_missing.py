"""What a user is told where the alfworld wheel is not installed."""

from __future__ import annotations

import importlib.util

import pytest

from atod_sweep.envs.benchmarks.alfworld import AlfWorld, wheel
from atod_sweep.errors import UserError


def test_a_missing_wheel_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    wheel.folder.cache_clear()
    with pytest.raises(UserError, match="pip install --no-deps alfworld") as error:
        AlfWorld()
    assert "\n" not in str(error.value)
    assert "compile for minutes" in str(error.value)
