"""How a weight moves over training: the schedule of a config, its values, and values with a given mean.

What a decay does is in `shapes/`, what follows a measurement in `controllers`. Imports no torch: reports and exported
bundles evaluate schedules on machines without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, overload

from atod_sweep.config.penalties import Controlled
from atod_sweep.config.schedules import Annealed, ClosedForm, Constant, OfMeasurement
from atod_sweep.errors import UserError
from atod_sweep.objective.controllers import CONTROLLERS, Controller
from atod_sweep.objective.shapes import SHAPES, numbers


@dataclass(frozen=True)
class DecayCurve:
    """A weight that is a function of progress alone."""

    shape: Callable[[float], float]

    def value(self, progress: float) -> float:
        """The weight at `progress`, which is clamped to [0, 1]; raises UserError on NaN."""
        if math.isnan(progress):
            raise UserError(f"progress: must be a number from 0 to 1, got {progress}")
        return self.shape(min(max(progress, 0.0), 1.0))


@overload
def build(config: ClosedForm) -> DecayCurve: ...
@overload
def build(config: Controlled) -> Controller: ...
def build(config: ClosedForm | Controlled) -> DecayCurve | Controller:
    """The schedule of a config: a `DecayCurve` of its shape, or a `Controller` where it follows a measurement.

    >>> from atod_sweep.config.schedules import Cosine
    >>> build(Cosine(start=1.0, end=0.2)).value(0.5)
    0.6
    """
    if isinstance(config, OfMeasurement):
        return CONTROLLERS[config.kind](config)
    function, of_config = SHAPES[config.kind].function, numbers(config)
    return DecayCurve(lambda p: function(p, **of_config))


def progress(step: int, total_steps: int, config: ClosedForm) -> float:
    """Progress of a schedule at optimiser step `step` = 0 .. total_steps - 1, in [0, 1].

    Where it starts and ends is the config's to say (`window`): decays `clamp((step - hold_fraction * total_steps) / A,
    0, 1)` with A = `anneal_steps` or `anneal_fraction * total_steps`, others `step / total_steps`. Raises UserError
    for a negative step or a run without steps.

    >>> from atod_sweep.config.schedules import Constant, Linear
    >>> [progress(step, 150, Linear(anneal_steps=80)) for step in (0, 40, 79, 80, 149)]
    [0.0, 0.5, 0.9875, 1.0, 1.0]
    >>> progress(75, 150, Constant())
    0.5
    """
    if total_steps < 1 or step < 0:
        raise UserError(f"progress: needs step >= 0 and total_steps >= 1, got step {step} of {total_steps}")
    return config.window(total_steps).progress(step)


def weights(config: ClosedForm | Controlled, total_steps: int) -> list[float]:
    """The weight at every optimiser step 0 .. total_steps - 1. Raises UserError for one that follows a measurement.

    >>> from atod_sweep.config.schedules import Linear
    >>> weights(Linear(start=1.0, end=0.0, anneal_steps=2), 4)
    [1.0, 0.5, 0.0, 0.0]
    """
    closed = _closed(config)
    curve = build(closed)
    return [curve.value(progress(step, total_steps, closed)) for step in range(total_steps)]


def _closed(config: ClosedForm | Controlled) -> ClosedForm:
    if isinstance(config, OfMeasurement):
        raise UserError(
            f"a {config.kind} schedule follows what training measures, so it has no value at a step; "
            "use a closed form, for example kind: cosine"
        )
    return config


def match_mean(
    config: ClosedForm | Controlled, field: Literal["start", "end"], target_mean: float, total_steps: int
) -> float:
    """The value of `field` at which the mean of `weights(config, total_steps)` is `target_mean`.

    The other end of the decay stays as it is. The mean rises with either end, so it is found by bisection, to the last
    bit or so, between 0 and the largest of 1, the other end and the target. Raises UserError if nothing there fits.

    >>> from atod_sweep.config.schedules import Linear
    >>> round(match_mean(Linear(start=1.0, anneal_steps=80), "end", target_mean=0.343, total_steps=150), 9)
    0.1
    """
    config = _closed(config)
    if not (isinstance(config, Annealed) or (isinstance(config, Constant) and field == "start")):
        raise UserError(f"match_mean: a {config.kind} schedule has no {field!r}; use a decay, for example linear")

    def mean(value: float) -> float:
        return math.fsum(weights(config.model_copy(update={field: value}), total_steps)) / total_steps

    ends = [end for name in ("start", "end") if (end := getattr(config, name, None)) is not None and name != field]
    low, high = config.lowest if isinstance(config, Annealed) else 0.0, max(1.0, target_mean, *ends)
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
