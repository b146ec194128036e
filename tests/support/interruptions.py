"""Runs that stop in the middle, and what they left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from atod_sweep.config.train import Train
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.loop.update import Updater


class Stop(Exception):
    """The power fails."""


class Recorder:
    """Collects reported rows; fails at the given call."""

    def __init__(self, fail_at: int = -1) -> None:
        self.rows: list[dict[str, Any]] = []
        self.calls, self.fail_at = 0, fail_at

    def __call__(self, rows: list[dict[str, Any]]) -> None:
        if self.calls == self.fail_at:
            raise Stop
        self.calls += 1
        self.rows += rows

    def by_step(self) -> dict[tuple[str, int], str]:
        """Rows without timings, as text, in which equal means bitwise equal."""
        kept = [{k: v for k, v in row.items() if not k.startswith(("seconds/", "cost/seconds"))} for row in self.rows]
        return {(row["phase"], row["step"]): json.dumps(row, sort_keys=True) for row in kept}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def stopped_run(config: Train, folder: Path, at: int, report: Recorder | None = None) -> None:
    """Train until the weights of step `at` have been changed and nothing more."""
    apply = Updater.apply

    def failing(self, batch, terms, step, *rest):
        metrics = apply(self, batch, terms, step, *rest)
        if step == at:
            raise Stop
        return metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updater, "apply", failing)
        with pytest.raises(Stop):
            train(config, folder, report or Recorder())
