"""Schedules as data: how a weight moves over training. `objective/shapes/` turns them into numbers.

Progress at optimiser step s = 0 .. S-1 is `clamp((s - hold_fraction * S) / A, 0, 1)` with `A = anneal_steps` or
`anneal_fraction * S`. Every annealed shape starts at `start`, ends at `end`, and stays there. Kinds that span the whole
run (constant, step, piecewise) have the progress `s / S`.

A schedule is either a function of progress (`OfProgress`) or follows what training measures (`OfMeasurement`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from atod_sweep.config.base import Record
from atod_sweep.config.custom import Custom


class Window(NamedTuple):
    """The optimiser steps over which progress runs from 0 to 1."""

    begin: float
    length: float

    @property
    def end(self) -> float:
        """The step from which progress is 1."""
        return self.begin + self.length

    def progress(self, step: int) -> float:
        """Progress at a step, in [0, 1]."""
        return min(max((step - self.begin) / self.length, 0.0), 1.0)


class _Schedule(Record):
    @abstractmethod
    def settled(self, total_steps: int) -> float:
        """The optimiser step from which the value stays what it is."""

    @abstractmethod
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest value that it can take."""

    def rescaled(self, old: int, new: int) -> Self:
        """The same for a run of `new` steps in the place of `old`; numbers that are fractions already stay."""
        return self


class OfProgress(_Schedule):
    """A function of progress alone; `objective/shapes/` holds it."""

    def window(self, total_steps: int) -> Window:
        """Where progress runs from 0 to 1 in a run of `total_steps`."""
        return Window(0.0, total_steps)


class OfMeasurement(_Schedule):
    """A value that follows what training measures; `objective/controllers.py` holds it."""

    def settled(self, total_steps: int) -> float:
        return total_steps


class Constant(OfProgress):
    """The same value at every step."""

    kind: Literal["constant"] = "constant"
    start: float = Field(1.0, description="The value, at every step.")

    def settled(self, total_steps: int) -> float:
        return 0.0

    def extremes(self) -> tuple[float, float]:
        return self.start, self.start


class Annealed(OfProgress):
    """A decay (or a rise) from `start` to `end` that never leaves the values between them, and a window for it.

    `lowest`: the least value that the ends may have.
    """

    lowest: ClassVar[float] = 0.0
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

    def window(self, total_steps: int) -> Window:
        length = self.anneal_fraction * total_steps if self.anneal_steps is None else self.anneal_steps
        return Window(self.hold_fraction * total_steps, length)

    def settled(self, total_steps: int) -> float:
        return self.window(total_steps).end

    def extremes(self) -> tuple[float, float]:
        return min(self.start, self.end), max(self.start, self.end)

    def rescaled(self, old: int, new: int) -> Self:
        """Whole steps stay whole where they can: a fraction that was divided out may round across a boundary."""
        if self.anneal_steps is None:
            return self
        scaled = self.anneal_steps * new
        if scaled % old == 0 or scaled > old * new:
            return self.model_copy(update={"anneal_steps": max(1, round(scaled / old))})
        return self.model_copy(update={"anneal_steps": None, "anneal_fraction": scaled / old / new})


class Linear(Annealed):
    """start + (end - start) p."""

    kind: Literal["linear"] = "linear"


class Cosine(Annealed):
    """end + (start - end) (1 + cos(pi p)) / 2."""

    kind: Literal["cosine"] = "cosine"


class Exponential(Annealed):
    """start (end / start)^p; both ends must be positive."""

    lowest: ClassVar[float] = 1e-12
    kind: Literal["exponential"] = "exponential"

    @model_validator(mode="after")
    def _positive(self) -> Exponential:
        for name, value, fix in (("start", self.start, 1.0), ("end", self.end, 0.01)):
            if value <= 0:
                raise ValueError(
                    f"{name}: exponential decay needs {name} > 0, got {value}; use kind: linear, or {name}: {fix}"
                )
        return self


class CustomDecay(Custom, Annealed):
    """Your own: f(p), the share of the way from start to end that is gone at progress p, both in [0, 1]."""

    on_tensors: ClassVar[bool] = False
    kind: Literal["custom"] = "custom"

    @classmethod
    def called_with(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        return ("progress",)


class _Table(OfProgress):
    boundaries: list[float] = Field(description="Increasing fractions of all optimiser steps, each in (0, 1).")
    values: list[float] = Field(description="One value more than boundaries.")

    def settled(self, total_steps: int) -> float:
        return max(self.boundaries, default=0.0) * total_steps

    def extremes(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

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


class Adaptive(OfMeasurement):
    """Not a function of progress: one level towards `end` each time the smoothed gap is below `threshold`."""

    kind: Literal["adaptive"] = "adaptive"
    start: float = Field(1.0, description="Value at level 0.")
    end: float = Field(0.1, description="Value at the last level.")
    threshold: float = Field(
        0.1, gt=0, description="Teacher-student gap, in nats per generated token, below which the level advances."
    )
    levels: int = Field(20, ge=1, description="Number of equal levels from start to end.")
    smoothing: float = Field(0.9, ge=0, lt=1, description="Weight of the past in the running mean of the gap.")

    def extremes(self) -> tuple[float, float]:
        return min(self.start, self.end), max(self.start, self.end)


def number_is_constant(value: Any) -> Any:
    """`distill_weight: 0.5` is short for `{kind: constant, start: 0.5}`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"kind": "constant", "start": value}
    return value


ClosedForm = Constant | Linear | Cosine | Exponential | Step | Piecewise | CustomDecay
Schedule = Annotated[ClosedForm | Adaptive, Field(discriminator="kind"), BeforeValidator(number_is_constant)]
# A schedule that is a function of the step alone (reward weight, temperature).
ClosedFormSchedule = Annotated[ClosedForm, Field(discriminator="kind"), BeforeValidator(number_is_constant)]
