"""Weights that follow a measurement instead of the step. Needs nothing but Python.

`make(name)` builds the controller of CONFIGS[name]: call `update(gap)` once after every optimiser step with the
measurement, read `current` for the next one, and put `state_dict()` into checkpoints. The measurement is a mean over
the generated tokens of the batch, in nats: log p_student - log p_teacher for "distill", log p_student - log p_initial
for "beta_kl", the student's log-probs being those at sampling.
"""

from __future__ import annotations

import math
from typing import Any

CONFIGS: dict[str, dict[str, Any]] = {}


def make(name: str) -> Adaptive | TargetKL:
    """The controller of "distill" or "beta_kl", at its start."""
    config = CONFIGS[name]
    return KINDS[config["kind"]](config)


class Adaptive:
    """The teacher's weight: one of `levels` equal steps from start to end whenever the smoothed gap is small.

    `gap` is the teacher-student gap; its running mean is `smoothing * mean + (1 - smoothing) * gap`, and the level
    advances at every update that leaves the mean below `threshold`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.level = 0
        self.gap: float | None = None

    @property
    def current(self) -> float:
        """The weight in force."""
        share = self.level / self.config["levels"]
        return self.config["start"] * (1.0 - share) + self.config["end"] * share

    def update(self, gap: float) -> None:
        """Take in one measurement."""
        past = self.config["smoothing"]
        self.gap = _finite(gap) if self.gap is None else past * self.gap + (1.0 - past) * _finite(gap)
        if self.gap < self.config["threshold"]:
            self.level = min(self.level + 1, self.config["levels"])

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"level": self.level, "gap": self.gap}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.level, self.gap = state["level"], state["gap"]


class TargetKL:
    """The KL coefficient: multiplied by 1 + rate * clamp(KL / target - 1, -1, 1) at every update."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.current: float = config["start"]

    def update(self, kl: float) -> None:
        """Take in one measurement of the KL to the initial student."""
        error = min(max(_finite(kl) / self.config["target"] - 1.0, -1.0), 1.0)
        self.current *= 1.0 + self.config["rate"] * error

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"coefficient": self.current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.current = state["coefficient"]


KINDS: dict[str, type[Adaptive | TargetKL]] = {"adaptive": Adaptive, "target_kl": TargetKL}


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a schedule can only follow finite measurements, got {value}")
    return value
