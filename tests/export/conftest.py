"""Runs to export, and exports of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_files import TrainRow, write_run

from atod_sweep.export.schedule import bundle


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`make_run(arms, ...)`: a run in a temporary folder."""
    return lambda arms, name="study", **options: write_run(tmp_path / name, arms, **options)


@pytest.fixture
def export_to(make_run: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Path, list[dict[str, Any]]]]:
    """`export_to(target, objective, ...)`: the export of a run with that objective, and the rows of its table."""

    def export(
        target: str,
        objective: dict[str, Any],
        *,
        steps: int = 8,
        horizon: int = 3,
        record: TrainRow | None = None,
        allow_lossy: bool = False,
        **more: Any,
    ) -> tuple[Path, list[dict[str, Any]]]:
        overrides = {"objective": objective, "steps": steps, "env.horizon": horizon, **more}
        run = make_run({"best": (overrides, {0: 0.5})}, record=record)
        out = bundle.write(run, tmp_path / "out", target=target, allow_lossy=allow_lossy)
        return out, json.loads((out / "schedule.json").read_text(encoding="utf-8"))["rows"]

    return export


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Dotted overrides of the tiny models and the tiny environment of the trainer's tests, in a cache of our own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "export-cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield {**importlib.import_module("small").BASE, "evaluation.temperature": 0.0, "evaluation.tasks": 32}
