"""What a trial has shown so far, as early stopping sees it."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field


@dataclass
class Evaluations:
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
