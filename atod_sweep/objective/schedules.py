"""How a weight moves over training: decay shapes as functions of progress, and two controllers that carry state.

Imports no torch: reports and exported bundles evaluate schedules on machines without it.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, overload

from atod_sweep.config.objective import TargetKL
from atod_sweep.config.schedules import Adaptive, ClosedForm, Constant, Cosine, Exponential, Linear, Piecewise, Step
from atod_sweep.errors import UserError

Shape = Literal["linear", "cosine", "exponential"]


def decay(shape: Shape, start: float, end: float, progress: float) -> float:
    """The value a share `progress` in [0, 1] of the way from `start` to `end`: exactly those two at 0 and 1.

    Weighted means in place of the textbook `start + (end - start) p`, which can miss `end` by a rounding error.
    """
    match shape:
        case "linear":
            return start * (1.0 - progress) + end * progress
        case "cosine":
            left = (1.0 + math.cos(math.pi * progress)) / 2.0
            return start * left + end * (1.0 - left)
        case "exponential":
            return math.pow(start, 1.0 - progress) * math.pow(end, progress)


# ---- functions of progress ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A weight that is a function of progress alone."""

    shape: Callable[[float], float]

    def value(self, progress: float) -> float:
        """The weight at `progress`, which is clamped to [0, 1]; raises UserError on NaN."""
        if math.isnan(progress):
            raise UserError(f"progress: must be a number from 0 to 1, got {progress}")
        return self.shape(min(max(progress, 0.0), 1.0))


def progress(step: int, total_steps: int, config: ClosedForm) -> float:
    """Progress of a schedule at optimiser step `step` = 0 .. total_steps - 1, in [0, 1].

    Decays: `clamp((step - hold_fraction * total_steps) / A, 0, 1)` with A = `anneal_steps` or
    `anneal_fraction * total_steps`. Kinds that span the whole run (constant, step, piecewise): `step / total_steps`.
    """
    if total_steps < 1 or step < 0:
        raise UserError(f"progress: needs step >= 0 and total_steps >= 1, got step {step} of {total_steps}")
    if not isinstance(config, Linear | Cosine | Exponential):
        return min(step / total_steps, 1.0)
    length = config.anneal_fraction * total_steps if config.anneal_steps is None else config.anneal_steps
    return min(max((step - config.hold_fraction * total_steps) / length, 0.0), 1.0)


def weights(config: ClosedForm, total_steps: int) -> list[float]:
    """The weight at every optimiser step 0 .. total_steps - 1."""
    curve = build(config)
    return [curve.value(progress(step, total_steps, config)) for step in range(total_steps)]


def match_mean(config: ClosedForm, field: Literal["start", "end"], target_mean: float, total_steps: int) -> float:
    """The value of `field` at which the mean of `weights(config, total_steps)` is `target_mean`.

    The other end of the decay stays as it is. The mean rises with either end, so it is found by bisection, to the last
    bit or so, between 0 and the largest of 1, the other end and the target. Raises UserError if nothing there fits.
    """
    if field not in type(config).model_fields:
        raise UserError(f"match_mean: a {config.kind} schedule has no {field!r}; use linear, cosine or exponential")

    def mean(value: float) -> float:
        return math.fsum(weights(config.model_copy(update={field: value}), total_steps)) / total_steps

    ends = [end for name in ("start", "end") if (end := getattr(config, name, None)) is not None and name != field]
    low, high = 1e-12 if isinstance(config, Exponential) else 0.0, max(1.0, target_mean, *ends)
    least, most = mean(low), mean(high)
    if not least <= target_mean <= most:
        raise UserError(
            f"match_mean: no {field} from {low:g} to {high:g} gives this {config.kind} schedule a mean weight of "
            f"{target_mean:g}; it reaches {least:.4g} to {most:.4g}: move its other end or its window"
        )
    for _ in range(64):
        middle = (low + high) / 2.0
        low, high = (middle, high) if mean(middle) < target_mean else (low, middle)
    return high


def _staircase(config: Step, p: float) -> float:
    return config.values[sum(p >= boundary for boundary in config.boundaries)]


def _lines(config: Piecewise, p: float) -> float:
    corners = list(zip([0.0, *config.boundaries], config.values, strict=True))
    for (left, start), (right, end) in itertools.pairwise(corners):
        if p < right:
            return decay("linear", start, end, (p - left) / (right - left))
    return config.values[-1]


# ---- functions of what is measured -------------------------------------------------------------------------------


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

    def value(self, progress: float) -> float:
        """Refuses: there is no closed form."""
        raise UserError(
            f"no value at progress {progress:g}: this schedule follows what training measures; "
            "use a closed form, for example kind: cosine"
        )


class AdaptiveWeight(Controller):
    """A level closer to `end` at every update whose smoothed teacher-student gap is below the threshold."""

    def __init__(self, config: Adaptive) -> None:
        self._config = config
        self._level = 0
        self._gap: float | None = None

    @property
    def current(self) -> float:
        return decay("linear", self._config.start, self._config.end, self._level / self._config.levels)

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


# ---- from config to object ---------------------------------------------------------------------------------------


@overload
def build(config: ClosedForm) -> Curve: ...
@overload
def build(config: Adaptive | TargetKL) -> Controller: ...
def build(config: ClosedForm | Adaptive | TargetKL) -> Curve | Controller:
    """The schedule of a config: a `Curve` for closed forms, a `Controller` for `adaptive` and `target_kl`."""
    match config:
        case Constant():
            return Curve(lambda p: config.start)
        case Step():
            return Curve(lambda p: _staircase(config, p))
        case Piecewise():
            return Curve(lambda p: _lines(config, p))
        case Linear() | Cosine() | Exponential():
            return Curve(lambda p: decay(config.kind, config.start, config.end, p))
        case Adaptive():
            return AdaptiveWeight(config)
        case TargetKL():
            return TargetKLCoefficient(config)
