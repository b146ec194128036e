"""Rules that end trials early, on environment steps and among trials of the same seed.

A rule never stops a trial before its grace step: annealed schedules that decay fast look worse early and better late.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from atod_sweep.config.schedules import Schedule
from atod_sweep.config.search import ASHA, Median, Objective
from atod_sweep.sweep.trials.jobs import Row

_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(Schedule)


@dataclass
class Curve:
    """One trial's evaluations: optimiser steps, environment steps, and the metric with large values good."""

    seed: int
    steps: list[int] = field(default_factory=list)
    env_steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rungs: int = 0  # ASHA: rungs that it has passed

    def at(self, env_steps: float) -> float | None:
        """The value at so many environment steps, interpolated; None if it did not come that far."""
        x, y = self.env_steps, self.values
        if not x or x[-1] < env_steps:
            return None
        i = bisect.bisect_left(x, env_steps)
        if i == 0 or x[i] == env_steps:
            return y[i]
        return y[i - 1] + (y[i] - y[i - 1]) * (env_steps - x[i - 1]) / (x[i] - x[i - 1])


class Rule:
    """Keeps the curves of all trials and says which to stop."""

    def __init__(self, config: Median | ASHA, metric: Objective) -> None:
        self._config, self._metric = config, metric
        self._curves: dict[str, Curve] = {}

    def add(self, trial: str, config: Mapping[str, Any], rows: list[Row]) -> bool:
        """Take in the rows of a trial; True if it should end here."""
        curve = self._curves.setdefault(trial, Curve(config["seed"]))
        for row in rows:
            if row["phase"] == "eval" and self._metric.name in row and row["step"] not in curve.steps:
                curve.steps.append(row["step"])
                curve.env_steps.append(row.get("cost/env_steps", 0.0))
                curve.values.append(self._metric.sign * row[self._metric.name])
        return self._is_behind(trial, curve, config)

    def _is_behind(self, trial: str, curve: Curve, config: Mapping[str, Any]) -> bool:
        if not curve.steps or curve.steps[-1] >= config["steps"]:
            return False  # the last evaluation: nothing is left to save
        grace = grace_step(config, self._config.grace)
        if curve.steps[-1] < grace:
            return False
        if isinstance(self._config, ASHA):
            if curve.steps[-1] < grace * self._config.reduction**curve.rungs:
                return False
            curve.rungs += 1
        now = statistics.fmean(curve.values[-self._metric.last :])
        others = (c for name, c in self._curves.items() if name != trial and c.seed == curve.seed)
        peers = [value for c in others if (value := c.at(curve.env_steps[-1])) is not None]
        if isinstance(self._config, ASHA):
            passing = max(1, (len(peers) + 1) // self._config.reduction)
            return len(peers) + 1 >= self._config.reduction and sum(peer > now for peer in peers) >= passing
        return len(peers) >= self._config.peers and now < statistics.median(peers)


def grace_step(config: Mapping[str, Any], fraction: float | None) -> float:
    """The optimiser step before which a trial is safe: `fraction` of the run, or where its teacher weight has decayed.

    At least a third of the run; all of it for a weight that follows what training measures.
    """
    steps: int = config["steps"]
    if fraction is not None:
        return fraction * steps
    objective = config["objective"]
    # An objective without a teacher's weight has nothing that could still be decaying.
    settled = (
        _SCHEDULE.validate_python(objective["distill_weight"]).settled(steps) if "distill_weight" in objective else 0
    )
    return min(max(settled, steps / 3), steps)
