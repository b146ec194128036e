"""What a parameter of a search space may be: ranges and choices, under conditions. `space` reads them from files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, model_validator

from atod_sweep.config.base import Record

LARGEST = 2**53  # up to here floats hold every whole number, and generators draw them
Scalar = str | int | float | bool | None


def on_grid(low: float, step: float, index: int) -> float:
    """`low + index x step` as people write it: 0.3, where binary sums give 0.30000000000000004."""
    return float(Fraction(repr(low)) + index * Fraction(repr(step)))


def steps_between(low: float, high: float, step: float) -> int:
    """How many whole steps fit."""
    return (Fraction(repr(high)) - Fraction(repr(low))) // Fraction(repr(step))


def _check_order(low: float, high: float) -> None:
    if low >= high:
        fix = f"for one value write {low:.15g} alone" if low == high else f"swap them: [{high:.15g}, {low:.15g}]"
        raise ValueError(f"a range needs two numbers in order, got [{low:.15g}, {high:.15g}]; {fix}")


class Float(Record):
    """A real number between two bounds, both included."""

    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")
    log: bool = Field(False, description="Uniform in the logarithm.")
    step: float | None = Field(None, gt=0, description="Distance of neighbouring values, from low on.")
    cut_from: float | None = Field(None, description="Upper end as it was written, where whole steps do not reach it.")
    plus: str | None = Field(None, description="Parameter whose value is added to what is drawn.")

    @model_validator(mode="after")
    def _ordered(self) -> Float:
        _check_order(self.low, self.high)
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError(f"log: needs a lower end above 0 and no step, got {self.low:g} and step {self.step}")
        if self.step is not None and self.size > LARGEST:
            raise ValueError(f"step: {self.step:g} makes more than {LARGEST} values; leave it out, or enlarge it")
        return self

    @property
    def size(self) -> float:
        """Number of different values."""
        return math.inf if self.step is None else steps_between(self.low, self.high, self.step) + 1


class Int(Record):
    """A whole number between two bounds, both included."""

    low: int = Field(description="Smallest value.")
    high: int = Field(description="Largest value.")
    log: bool = Field(False, description="Uniform in the logarithm.")
    step: int = Field(1, ge=1, description="Distance of neighbouring values, from low on.")
    cut_from: int | None = Field(None, description="Upper end as it was written, where whole steps do not reach it.")
    plus: str | None = Field(None, description="Parameter whose value is added to what is drawn.")

    @model_validator(mode="after")
    def _ordered(self) -> Int:
        _check_order(self.low, self.high)
        if self.log and (self.low <= 0 or self.step != 1):
            raise ValueError(f"log: needs a lower end above 0 and step 1, got {self.low} and step {self.step}")
        if max(abs(self.low), abs(self.high)) > LARGEST:
            raise ValueError(f"whole numbers reach {LARGEST} here, got [{self.low}, {self.high}]")
        return self

    @property
    def size(self) -> float:
        return (self.high - self.low) // self.step + 1


class Choice(Record):
    """One of several plain values, or of several lists where the key takes a list."""

    values: tuple[Scalar | list[Scalar], ...] = Field(description="The values.", min_length=1)

    @model_validator(mode="after")
    def _different(self) -> Choice:
        """Values, and what they are drawn by, are told apart by `==`, as Optuna does it: 1, 1.0 and true are one."""
        values, labels = self.values, self.labels
        for place in range(len(values)):
            first = min(values.index(values[place]), labels.index(labels[place]))
            if first != place:
                raise ValueError(
                    f"choice: {values[first]!r} and {values[place]!r} count as one value; "
                    f"drop one of them, got {list(values)}"
                )
        return self

    @property
    def labels(self) -> tuple[Scalar, ...]:
        """The values as what is drawn by, for samplers know no lists: those stand as their JSON text."""
        return tuple(json.dumps(value) if isinstance(value, list) else value for value in self.values)

    @property
    def size(self) -> float:
        return len(self.values)


class Fixed(Record):
    """Always this value."""

    value: Any = Field(description="The value.")


Domain = Float | Int | Choice | Fixed


@dataclass(frozen=True)
class Branch:
    """A domain and the conditions under which it holds: parameter key -> admitted values; empty: always.

    `name` is unique in the space: one key has as many names as branches that draw from different ranges.
    """

    name: str
    when: Mapping[str, tuple[Scalar, ...]]
    domain: Domain


@dataclass(frozen=True)
class Parameter:
    """One key of the trainer's config; the first branch whose conditions hold decides, none: the base's value stays."""

    key: str
    branches: tuple[Branch, ...]

    def active(self, values: Mapping[str, Any]) -> Branch | None:
        """The branch whose conditions hold under the values known so far."""
        for branch in self.branches:
            if all(key in values and values[key] in admitted for key, admitted in branch.when.items()):
                return branch
        return None

    @property
    def needs(self) -> set[str]:
        """Parameters that must be known before this one."""
        found = {key for branch in self.branches for key in branch.when}
        return found | {b.domain.plus for b in self.branches if isinstance(b.domain, Float | Int) and b.domain.plus}


@dataclass(frozen=True)
class Constraint:
    """`left < right` between two parameters, or a parameter and a number; it holds where one of them is absent."""

    left: str
    relation: Literal["<", "<=", ">", ">="]
    right: str | float

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


def is_number(domain: Domain) -> bool:
    match domain:
        case Fixed(value=value):
            return _is_plain_number(value)
        case Choice(values=values):
            return all(map(_is_plain_number, values))
        case Float() | Int():
            return True


def _is_plain_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def can_be(value: Any, domain: Domain) -> bool:
    """Whether a parameter over `domain` is `value` with a chance above 0."""
    match domain:
        case Fixed():
            return bool(value == domain.value)
        case Choice():
            return value in domain.values
        case Float() | Int():
            if domain.plus is not None:
                return _is_plain_number(value)  # a sum, whose range depends on another draw
            if not _is_plain_number(value) or domain.step is None or not domain.low <= value <= domain.high:
                return False
            return on_grid(domain.low, domain.step, round((value - domain.low) / domain.step)) == value


def extent(domain: Domain) -> str:
    """What a parameter over the domain is, in words."""
    match domain:
        case Fixed():
            return str(domain.value)
        case Choice():
            return f"one of {', '.join(map(str, domain.values))}"
        case Float() | Int():
            step = (
                f" in steps of {domain.step:g}" if domain.step is not None else ", where one exact value has no chance"
            )
            return f"a number in [{domain.low:g}, {domain.high:g}]{step}"
