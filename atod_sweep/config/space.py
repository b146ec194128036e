"""The parameters of a search space, read from a file: which keys of the trainer's config vary, over what, and when.

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

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from atod_sweep.config.base import validate
from atod_sweep.config.domains import (
    Branch,
    Choice,
    Constraint,
    Domain,
    Fixed,
    Float,
    Int,
    Parameter,
    Scalar,
    can_be,
    extent,
    is_number,
    on_grid,
    steps_between,
)
from atod_sweep.config.schema import check_key
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError, meant

_WORLDS = 10_000  # combinations of conditions that are looked at


def parse_parameters(tree: Mapping[str, Any], where: str) -> tuple[Parameter, ...]:
    """The parameters of a file, each after those that it depends on. UserError that starts with `where`."""
    try:
        leaves = dict(_leaves(tree, ""))
    except UserError as error:
        raise UserError(f"{where}.{error}") from None
    for key in leaves:
        if mistake := _mistake(key):
            raise UserError(f"{where}: {mistake}")
    if "seed" in leaves:
        raise UserError(f"{where}.seed: seeds are not searched: budget.seeds says how many a configuration gets")
    parameters = {key: Parameter(key, _branches(key, leaf, leaves, where)) for key, leaf in leaves.items()}
    for parameter in parameters.values():
        _check_conditions(parameter, parameters, where)
    found = tuple(_sorted(parameters, where))
    _check_branches(found, where)
    return found


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and not {"float", "int", "choice", "when"} & value.keys():
            _refuse_other_spellings(value, f"{prefix}{key}")
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
    if "cut_from" in data:  # said of a range by us, never by its author
        raise UserError(f"{place}: unknown key 'cut_from'; did you mean 'step'?")
    if data.get("plus") is not None:
        data["plus"] = _full_key(data["plus"], key, leaves, f"{place}.plus")
    bounds = {"low": content[0], "high": content[1], **data}
    found: Float | Int = validate(Float, bounds, place) if kind == "float" else validate(Int, bounds, place)
    return _cut(found)


def _cut(domain: Float | Int) -> Float | Int:
    """The range up to the last whole step."""
    if domain.step is None:
        return domain
    steps = steps_between(domain.low, domain.high, domain.step)
    last = on_grid(domain.low, domain.step, steps)
    if last == domain.high:
        return domain
    high = last if isinstance(domain, Float) else int(last)
    return domain.model_copy(update={"high": high, "cut_from": domain.high})


def cuts(parameters: tuple[Parameter, ...]) -> list[str]:
    """A line for every range that its step does not divide."""
    return [
        f"{branch.name}: [{b.low:g}, {b.cut_from:g}] ends at {b.high:g}, where whole steps of {b.step:g} end"
        for parameter in parameters
        for branch in parameter.branches
        if isinstance(b := branch.domain, Float | Int) and b.cut_from is not None
    ]


OURS = (
    "a range is {float: [LOW, HIGH]} or {int: [LOW, HIGH]}, both ends included, with log: true or step: STEP; several "
    "values are {choice: [VALUE, VALUE, ...]} (all of them are tried by sampler: {kind: grid}); one is VALUE itself"
)


def _refuse_other_spellings(node: Mapping[str, Any], place: str) -> None:
    """Of a mapping that is neither ours nor has a part of the config in it; a single misspelt part is told as such."""
    told = [_mistake(f"{place}.{key}") for key in node]
    if not node or _mistake(place) or "" in told or (len(node) == 1 and "did you mean" in told[0]):
        return
    raise UserError(f"{place}: {', '.join(map(str, node))} is how another tool writes it; here {OURS}")


def _mistake(key: str) -> str:
    """What is wrong with a key; "" for one of the config."""
    try:
        check_key(Train, key)
    except UserError as error:
        return str(error)
    return ""


def _full_key(name: str, key: str, leaves: Mapping[str, Any], place: str) -> str:
    neighbour = f"{key.rpartition('.')[0]}.{name}"
    for candidate in (neighbour, str(name)):
        if candidate in leaves:
            return candidate
    hint = meant(name, [*leaves, *(k.rpartition(".")[2] for k in leaves)], f"known: {', '.join(leaves)}")
    raise UserError(f"{place}: {name!r} is not a parameter of this space; {hint}")


def _check_conditions(parameter: Parameter, parameters: Mapping[str, Parameter], where: str) -> None:
    for branch in parameter.branches:
        for key, values in branch.when.items():
            domains = [b.domain for b in parameters[key].branches]
            for value in values:
                if not any(can_be(value, domain) for domain in domains):
                    said = "; or ".join(dict.fromkeys(map(extent, domains)))
                    raise UserError(f"{where}.{parameter.key}.when: {key} is never {value!r}; it is {said}")


def _check_branches(parameters: tuple[Parameter, ...], where: str) -> None:
    """UserError for a branch whose conditions cannot hold together, or only where an earlier branch's do, and for a
    sum with what is not there, or no number.

    All combinations of the values that conditions name are looked at (if they are not too many), and any other value.
    """
    named: dict[str, list[Scalar]] = {}
    for each in (branch for parameter in parameters for branch in parameter.branches):
        for key, admitted in each.when.items():
            named.setdefault(key, []).extend(value for value in admitted if value not in named.get(key, ()))
    known = {parameter.key: parameter for parameter in parameters}
    worlds: list[dict[str, Any]] = [{}]
    for parameter in parameters:
        met = [parameter.active(world) for world in worlds]
        for each in parameter.branches:
            if not any(branch is each for branch in met):
                held = "; ".join(f"{key}: {', '.join(map(str, values))}" for key, values in each.when.items())
                raise UserError(f"{where}.{parameter.key}: never comes to its branch when {{{held}}}; drop it")
        for world, branch in zip(worlds, met, strict=True):
            if branch is None or not isinstance(branch.domain, Float | Int) or branch.domain.plus is None:
                continue
            added = known[branch.domain.plus].active(world)
            if added is None or not is_number(added.domain):
                what = "not there" if added is None else "no number"
                held = f" where {world}" if world else ""
                raise UserError(
                    f"{where}.{parameter.key}.plus: {branch.domain.plus} is {what}{held}; add to one that is"
                )
        worlds += [
            {**world, parameter.key: value}
            for world, branch in zip(worlds, met, strict=True)
            for value in named.get(parameter.key, ())
            if branch is not None and can_be(value, branch.domain)
        ]
        if len(worlds) > _WORLDS:
            return


def _sorted(parameters: Mapping[str, Parameter], where: str) -> Iterator[Parameter]:
    """File order, except that a parameter waits for those it needs."""
    waiting, known = dict(parameters), set[str]()
    while waiting:
        ready = next((p for p in waiting.values() if p.needs <= known), None)
        if ready is None:
            raise UserError(f"{where}.{next(iter(waiting))}: its when or plus leads back to itself")
        known.add(ready.key)
        yield waiting.pop(ready.key)


_RELATION = re.compile(r"<=|>=|<|>")


def parse_constraint(text: str, parameters: tuple[Parameter, ...], where: str) -> Constraint:
    """Read `A < B`. UserError if it does not have that form or names no parameter."""
    keys = {parameter.key: None for parameter in parameters}
    match = _RELATION.search(text)
    left, right = (text[: match.start()].strip(), text[match.end() :].strip()) if match else ("", "")
    if match is None or len(left.split()) != 1 or len(right.split()) != 1:
        raise UserError(f"{where}: cannot read {text!r}; write for example 'a.end < a.start' or 'a.end < 0.5'")
    relation = match.group()
    try:
        limit: str | float = float(right)
    except ValueError:
        limit = _full_key(right, right, keys, where)
    if isinstance(limit, float) and not math.isfinite(limit):
        raise UserError(f"{where}: {text!r} compares with {right!r}; write a finite number, or a parameter")
    return Constraint(_full_key(left, left, keys, where), relation, limit)  # type: ignore[arg-type]
