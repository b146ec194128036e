"""The parameters of a search space: which keys of the trainer's config vary, over what, and when.

    objective.distill_weight:
      kind: {choice: [cosine, exponential]}
      start: 1.0                                    # a plain value is fixed
      anneal_fraction: {float: [0.2, 1.0]}
      end: {when: {kind: exponential}, float: [0.01, 0.3], log: true, otherwise: {float: [0.0, 0.3]}}
    objective.turns:
      early_fraction: {float: [0.0, 0.4]}
      late_fraction: {float: [0.1, 0.6], plus: early_fraction}   # a gap is drawn: the order holds by construction

Keys may be nested or dotted. A name in `when` or `plus` is that of a neighbour, or a full key.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from atod_sweep.config.base import Record, check_key, validate
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError

Scalar = str | int | float | bool | None


class Float(Record):
    """A real number between two bounds, both included."""

    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")
    log: bool = Field(False, description="Uniform in the logarithm.")
    step: float | None = Field(None, gt=0, description="Distance of neighbouring values, from low on.")
    plus: str | None = Field(None, description="Parameter whose value is added to what is drawn.")

    @model_validator(mode="after")
    def _ordered(self) -> Float:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"needs two finite numbers in order, got [{self.low:g}, {self.high:g}]")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError(f"log: needs a lower end above 0 and no step, got {self.low:g} and step {self.step}")
        return self

    @property
    def size(self) -> float:
        """Number of different values."""
        return math.inf if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1


class Int(Record):
    """A whole number between two bounds, both included."""

    low: int = Field(description="Smallest value.")
    high: int = Field(description="Largest value.")
    log: bool = Field(False, description="Uniform in the logarithm.")
    step: int = Field(1, ge=1, description="Distance of neighbouring values, from low on.")
    plus: str | None = Field(None, description="Parameter whose value is added to what is drawn.")

    @model_validator(mode="after")
    def _ordered(self) -> Int:
        if self.low >= self.high:
            raise ValueError(f"needs two numbers in order, got [{self.low}, {self.high}]")
        if self.log and (self.low <= 0 or self.step != 1):
            raise ValueError(f"log: needs a lower end above 0 and step 1, got {self.low} and step {self.step}")
        return self

    @property
    def size(self) -> float:
        """Number of different values."""
        return (self.high - self.low) // self.step + 1


class Choice(Record):
    """One of a list of plain values."""

    values: tuple[Scalar, ...] = Field(description="The values.", min_length=1)

    @model_validator(mode="after")
    def _different(self) -> Choice:
        if len(set(map(repr, self.values))) != len(self.values):
            raise ValueError(f"choice: each value counts once, got {list(self.values)}")
        return self

    @property
    def size(self) -> float:
        """Number of different values."""
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


# ---- reading --------------------------------------------------------------------------------------------------------


def parse_parameters(tree: Mapping[str, Any], where: str) -> tuple[Parameter, ...]:
    """The parameters of a file, each after those that it depends on. UserError that starts with `where`."""
    leaves = dict(_leaves(tree, ""))
    for key in leaves:
        try:
            check_key(Train, key)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    if "seed" in leaves:
        raise UserError(f"{where}.seed: seeds are not searched: budget.seeds says how many a configuration gets")
    parameters = {key: Parameter(key, _branches(key, leaf, leaves, where)) for key, leaf in leaves.items()}
    for parameter in parameters.values():
        _check_conditions(parameter, parameters, where)
    return tuple(_sorted(parameters, where))


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and not {"float", "int", "choice", "when"} & value.keys():
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _branches(key: str, leaf: Any, leaves: Mapping[str, Any], where: str) -> tuple[Branch, ...]:
    place = f"{where}.{key}"
    found: list[tuple[dict[str, tuple[Scalar, ...]], Domain]] = []
    while True:
        if not isinstance(leaf, Mapping):
            found.append(({}, Fixed(value=leaf)))
            break
        data = dict(leaf)
        when = data.pop("when", None)
        otherwise = data.pop("otherwise", ...)
        if when is not None and not isinstance(when, Mapping):
            raise UserError(f"{place}.when: expected parameter: value, got {when!r}")
        if otherwise is not ... and when is None:
            raise UserError(f"{place}.otherwise: needs a when")
        conditions = {
            _full_key(name, key, leaves, f"{place}.when"): tuple(value) if isinstance(value, list) else (value,)
            for name, value in (when or {}).items()
        }
        found.append((conditions, _domain(data, key, leaves, place)))
        if otherwise is ...:
            break
        leaf = otherwise
    if len(found) == 1:
        return (Branch(key, *found[0]),)
    return tuple(Branch(f"{key} ({_words(when, key)})", when, domain) for when, domain in found)


def _words(when: Mapping[str, tuple[Scalar, ...]], key: str) -> str:
    """`kind=exponential`: short where the condition is on a neighbour."""
    parent = key.rpartition(".")[0] + "."
    return ", ".join(f"{k.removeprefix(parent)}={'|'.join(map(str, v))}" for k, v in when.items()) or "otherwise"


def _domain(data: dict[str, Any], key: str, leaves: Mapping[str, Any], place: str) -> Domain:
    kinds = [kind for kind in ("float", "int", "choice", "value") if kind in data]
    if len(kinds) != 1:
        raise UserError(f"{place}: needs one of float, int, choice, value, got {', '.join(data) or 'nothing'}")
    kind = kinds[0]
    content = data.pop(kind)
    if kind == "value":
        return validate(Fixed, {"value": content, **data}, place)
    if kind == "choice":
        return validate(Choice, {"values": content, **data}, place)
    if not (isinstance(content, list) and len(content) == 2):
        raise UserError(f"{place}.{kind}: expected [low, high], got {content!r}")
    if data.get("plus") is not None:
        data["plus"] = _full_key(data["plus"], key, leaves, f"{place}.plus")
    bounds = {"low": content[0], "high": content[1], **data}
    return validate(Float, bounds, place) if kind == "float" else validate(Int, bounds, place)


def _full_key(name: str, key: str, leaves: Mapping[str, Any], place: str) -> str:
    neighbour = f"{key.rpartition('.')[0]}.{name}"
    for candidate in (neighbour, name):
        if candidate in leaves:
            return candidate
    near = difflib.get_close_matches(str(name), [*leaves, *(k.rpartition(".")[2] for k in leaves)], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(leaves)}"
    raise UserError(f"{place}: {name!r} is not a parameter of this space; {hint}")


def _check_conditions(parameter: Parameter, parameters: Mapping[str, Parameter], where: str) -> None:
    for branch in parameter.branches:
        for key, values in branch.when.items():
            domains = [b.domain for b in parameters[key].branches]
            if all(isinstance(domain, Choice | Fixed) for domain in domains):
                known = [v for d in domains for v in (d.values if isinstance(d, Choice) else [d.value])]  # type: ignore[union-attr]
                for value in values:
                    if value not in known:
                        raise UserError(
                            f"{where}.{parameter.key}.when: {key} is never {value!r}; it is one of "
                            f"{', '.join(map(str, known))}"
                        )


def _sorted(parameters: Mapping[str, Parameter], where: str) -> Iterator[Parameter]:
    """File order, except that a parameter waits for those it needs."""
    waiting, known = dict(parameters), set[str]()
    while waiting:
        ready = next((p for p in waiting.values() if p.needs <= known), None)
        if ready is None:
            raise UserError(f"{where}.{next(iter(waiting))}: its when or plus leads back to itself")
        known.add(ready.key)
        yield waiting.pop(ready.key)


_CONSTRAINT = re.compile(r"^\s*(\S+)\s*(<=|<|>=|>)\s*(\S+)\s*$")


def parse_constraint(text: str, parameters: tuple[Parameter, ...], where: str) -> Constraint:
    """Read `A < B`. UserError if it does not have that form or names no parameter."""
    keys = {parameter.key: None for parameter in parameters}
    match = _CONSTRAINT.match(text)
    if match is None:
        raise UserError(f"{where}: cannot read {text!r}; write for example 'a.end < a.start' or 'a.end < 0.5'")
    left, relation, right = match.groups()
    try:
        limit: str | float = float(right)
    except ValueError:
        limit = _full_key(right, right, keys, where)
    return Constraint(_full_key(left, left, keys, where), relation, limit)  # type: ignore[arg-type]
