"""Weights that follow a measurement, and the table of them: their state belongs into checkpoints. Imports no torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from atod_sweep.config.kinds import one_each
from atod_sweep.config.penalties import Controlled, TargetKL
from atod_sweep.config.schedules import Adaptive
from atod_sweep.errors import UserError
from atod_sweep.objective.shapes.linear import linear


class Controller(ABC):
    """A weight that follows a measurement; its state belongs into checkpoints."""

    @property
    @abstractmethod
    def current(self) -> float:
        """The weight now in force."""

    @abstractmethod
    def update(self, gap: float) -> None:
        """Take in one measurement, in nats per generated token; raises UserError unless it is finite."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` continues exactly."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the `state_dict()` of a controller with the same config."""


class AdaptiveWeight(Controller):
    """A level closer to `end` at every update whose smoothed teacher-student gap is below the threshold."""

    def __init__(self, config: Adaptive) -> None:
        self._config = config
        self._level = 0
        self._gap: float | None = None

    @property
    def current(self) -> float:
        return linear(self._level / self._config.levels, self._config.start, self._config.end)

    def update(self, gap: float) -> None:
        past = self._config.smoothing
        _check_finite(gap)
        self._gap = gap if self._gap is None else past * self._gap + (1.0 - past) * gap
        if self._gap < self._config.threshold:
            self._level = min(self._level + 1, self._config.levels)

    def state_dict(self) -> dict[str, Any]:
        return {"level": self._level, "gap": self._gap}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._level, self._gap = state["level"], state["gap"]


class TargetKLCoefficient(Controller):
    """Coefficient times `1 + rate * clamp(KL / target - 1, -1, 1)` at every update.

    The controller of Ziegler et al. 2019 (arXiv 1909.08593, section 2.2) with the clamp at the symmetric 1.
    """

    def __init__(self, config: TargetKL) -> None:
        self._config = config
        self._coefficient = config.start

    @property
    def current(self) -> float:
        return self._coefficient

    def update(self, gap: float) -> None:
        _check_finite(gap)
        error = min(max(gap / self._config.target - 1.0, -1.0), 1.0)
        self._coefficient *= 1.0 + self._config.rate * error

    def state_dict(self) -> dict[str, Any]:
        return {"coefficient": self._coefficient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._coefficient = state["coefficient"]


def _check_finite(gap: float) -> None:
    if not math.isfinite(gap):
        raise UserError(f"gap: a schedule can only follow finite measurements, got {gap}")


CONTROLLERS: dict[str, Callable[[Any], Controller]] = one_each(
    Controlled, {"adaptive": AdaptiveWeight, "target_kl": TargetKLCoefficient}
)
