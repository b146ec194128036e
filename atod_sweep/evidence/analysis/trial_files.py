"""Where configs and metric rows of a run's trials come from: a folder for each trial, or the one file of a packed run.

The one reader of both for all of the evidence. A file is read when somebody asks for what is in it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from atod_sweep.config.base import load_yaml
from atod_sweep.records import layout, packed
from atod_sweep.records.metrics import MetricRow, read_metrics
from atod_sweep.records.packed import Packed


class TrialFiles:
    """The trials' files of one run."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    @cached_property
    def packed(self) -> Packed | None:
        """The file of a packed run; None of any other. UserError if it is damaged."""
        return packed.read(self.run_dir)

    def config(self, trial: str) -> dict[str, Any]:
        """The resolved config that a trial ran with; empty if it is gone. UserError if it is damaged."""
        if self.packed:
            return self.packed.trial(trial).config
        path = layout.trial_folder(self.run_dir, trial) / layout.CONFIG
        return load_yaml(path) if path.is_file() else {}

    def rows(self, trial: str) -> list[MetricRow]:
        """A trial's metric rows in the order of their steps; none if they are gone. UserError if one is damaged."""
        if self.packed:
            return self.packed.trial(trial).rows
        return read_metrics(layout.trial_folder(self.run_dir, trial) / layout.METRICS)

    def means(self, trial: str) -> dict[str, float]:
        """Means over all training steps that the rows no longer tell; none where no row was left out."""
        return self.packed.trial(trial).means if self.packed else {}
