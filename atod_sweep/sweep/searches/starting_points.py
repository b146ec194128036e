"""The points that a search tries first: given as values or as trainer configs, and proven to lie inside the space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atod_sweep.config.base import validate
from atod_sweep.config.domains import Choice, Fixed, Float, Int, on_grid
from atod_sweep.config.files import flatten, train_data
from atod_sweep.config.search import Search
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.draws import GivenDraw
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space, value_at


def starting_points(space: Space, search: Search, folder: Path, where: str) -> list[Sample]:
    """The points of `start_from`. UserError for wrong keys and for points that lie outside the space."""
    return [
        _starting_point(space, source, folder, f"{where}: start_from.{i}") for i, source in enumerate(search.start_from)
    ]


def _starting_point(space: Space, source: str | dict[str, Any], folder: Path, where: str) -> Sample:
    keys = {parameter.key for parameter in space.parameters}
    if isinstance(source, str):
        config = validate(Train, train_data(source, folder, where), where).model_dump(mode="json")
        given = {key: found for key in keys if (found := value_at(config, key)) is not None}
        strict = False
    else:
        given, strict = flatten(source), True
        if unknown := sorted(given.keys() - keys):
            raise UserError(
                f"{where}: {unknown[0]!r} is not a parameter of this space; known: {', '.join(sorted(keys))}"
            )
    try:
        params, values = _inverted(space, given)
    except KeyError as error:
        raise UserError(f"{where}: gives no value for {error.args[0]!r}") from None
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    if strict and (unused := sorted(given.keys() - values.keys())):
        raise UserError(f"{where}: {unused[0]!r} does not exist beside the other values of this point")
    try:
        return space.sample(GivenDraw(params))
    except Infeasible as error:
        raise UserError(f"{where}: lies outside the space: {error}") from None


def _inverted(space: Space, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What must be drawn so that the space gives these values. KeyError: a value is missing; ValueError: outside."""
    params: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        branch = parameter.active(values)
        if branch is None:
            continue
        domain = branch.domain
        if isinstance(domain, Fixed):
            value = given.get(parameter.key, domain.value)
            if value != domain.value:
                raise ValueError(f"{parameter.key} is {value!r}, but the space fixes it at {domain.value!r}")
        else:
            value = given[parameter.key]
            drawn = value
            if isinstance(domain, Float | Int) and domain.plus is not None:
                drawn = value - values[domain.plus]
                if domain.step is not None and isinstance(domain, Float):
                    drawn = on_grid(value, values[domain.plus], -1)  # a gap of decimals is a decimal
            params[branch.name] = _checked(parameter.key, drawn, domain)
        values[parameter.key] = value
    return params, values


def _checked(key: str, value: Any, domain: Float | Int | Choice) -> Any:
    if isinstance(domain, Choice):
        if value not in domain.values:
            raise ValueError(f"{key} is {value!r}, outside {list(domain.values)}")
        return domain.labels[domain.values.index(value)]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    slack = 1e-9 * (domain.high - domain.low)  # a gap is a difference of two decimals
    if not number or not domain.low - slack <= value <= domain.high + slack:
        above = f" above {domain.plus}" if domain.plus else ""
        raise ValueError(f"{key} is {value!r}{above}, outside [{domain.low:g}, {domain.high:g}]")
    value = min(max(value, domain.low), domain.high)
    if domain.step is not None:
        steps = (value - domain.low) / domain.step
        if not math.isclose(steps, round(steps), abs_tol=1e-6):
            raise ValueError(f"{key} is {value!r}, not a multiple of step {domain.step:g} above {domain.low:g}")
        if isinstance(domain, Float):
            return on_grid(domain.low, domain.step, round(steps))
    return value
