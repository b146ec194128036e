"""Single numbers that a native config wants where we have a schedule."""

from __future__ import annotations

from atod_sweep.config.penalties import TargetKL
from atod_sweep.config.schedules import ClosedForm, OfMeasurement
from atod_sweep.objective import schedules


def largest(config: ClosedForm | TargetKL, steps: int) -> float:
    """The largest value of a schedule: what switches a code path on if the schedule ever does."""
    return config.start if isinstance(config, OfMeasurement) else max(schedules.weights(config, steps))


def first(config: ClosedForm) -> float:
    """The value at the first step."""
    return schedules.build(config).value(0.0)
