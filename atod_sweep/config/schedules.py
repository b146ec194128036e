"""Schedules as data: how a weight moves over training. `objective/schedules.py` turns them into numbers.

Progress at optimiser step s = 0 .. S-1 is `clamp((s - hold_fraction * S) / A, 0, 1)` with `A = anneal_steps` or
`anneal_fraction * S`. Every annealed shape starts at `start`, ends at `end`, and stays there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from atod_sweep.config.base import Record


class Constant(Record):
    """The same value at every step."""

    kind: Literal["constant"] = "constant"
    start: float = Field(1.0, description="The value, at every step.")


class _Annealed(Record):
    start: float = Field(1.0, description="Value at progress 0.")
    end: float = Field(0.1, description="Value at progress 1 and from then on.")
    anneal_fraction: float = Field(
        80 / 150, gt=0, le=1, description="Length of the decay as a fraction of all optimiser steps, in (0, 1]."
    )
    anneal_steps: int | None = Field(
        None, ge=1, description="Length of the decay in optimiser steps; takes the place of anneal_fraction."
    )
    hold_fraction: float = Field(
        0.0, ge=0, lt=1, description="Fraction of all optimiser steps spent at `start` before the decay, in [0, 1)."
    )


class Linear(_Annealed):
    """start + (end - start) p."""

    kind: Literal["linear"] = "linear"


class Cosine(_Annealed):
    """end + (start - end) (1 + cos(pi p)) / 2."""

    kind: Literal["cosine"] = "cosine"


class Exponential(_Annealed):
    """start (end / start)^p; both ends must be positive."""

    kind: Literal["exponential"] = "exponential"

    @model_validator(mode="after")
    def _positive(self) -> Exponential:
        for name, value, fix in (("start", self.start, 1.0), ("end", self.end, 0.01)):
            if value <= 0:
                raise ValueError(
                    f"{name}: exponential decay needs {name} > 0, got {value}; use kind: linear, or {name}: {fix}"
                )
        return self


class _Table(Record):
    boundaries: list[float] = Field(description="Increasing fractions of all optimiser steps, each in (0, 1).")
    values: list[float] = Field(description="One value more than boundaries.")

    @model_validator(mode="after")
    def _ordered(self) -> _Table:
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values: {len(self.boundaries)} boundaries need {len(self.boundaries) + 1} values, "
                f"got {len(self.values)}"
            )
        if any(b <= a for a, b in zip([0.0, *self.boundaries], [*self.boundaries, 1.0], strict=True)):
            raise ValueError(f"boundaries: must increase strictly inside (0, 1), got {self.boundaries}")
        return self


class Step(_Table):
    """values[i] from boundary i - 1 (inclusive) to boundary i (exclusive): a staircase over the whole run."""

    kind: Literal["step"] = "step"


class Piecewise(_Table):
    """Straight lines through (0, values[0]), (boundaries[i], values[i + 1]); constant after the last boundary."""

    kind: Literal["piecewise"] = "piecewise"


class Adaptive(Record):
    """Not a function of progress: one level towards `end` each time the smoothed gap is below `threshold`."""

    kind: Literal["adaptive"] = "adaptive"
    start: float = Field(1.0, description="Value at level 0.")
    end: float = Field(0.1, description="Value at the last level.")
    threshold: float = Field(
        0.1, gt=0, description="Teacher-student gap, in nats per generated token, below which the level advances."
    )
    levels: int = Field(20, ge=1, description="Number of equal levels from start to end.")
    smoothing: float = Field(0.9, ge=0, lt=1, description="Weight of the past in the running mean of the gap.")


def number_is_constant(value: Any) -> Any:
    """`distill_weight: 0.5` is short for `{kind: constant, start: 0.5}`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"kind": "constant", "start": value}
    return value


def extremes(schedule: Record) -> tuple[float, float]:
    """Smallest and largest value of a schedule: every kind stays between the values that its config names."""
    named = schedule.model_dump(include={"start", "end", "values"})
    values: list[float] = named.pop("values", []) + list(named.values())
    return min(values), max(values)


ClosedForm = Constant | Linear | Cosine | Exponential | Step | Piecewise
Schedule = Annotated[
    Constant | Linear | Cosine | Exponential | Step | Piecewise | Adaptive,
    Field(discriminator="kind"),
    BeforeValidator(number_is_constant),
]
# A schedule that is a function of the step alone (reward weight, temperature).
ClosedFormSchedule = Annotated[ClosedForm, Field(discriminator="kind"), BeforeValidator(number_is_constant)]
