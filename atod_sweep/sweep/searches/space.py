"""A search space at work: draws become trainer configs, and every drawn value is seen to arrive there."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash, validate, with_overrides
from atod_sweep.config.domains import Branch, Choice, Constraint, Domain, Fixed, Float, Int, Parameter, on_grid
from atod_sweep.config.files import train_data
from atod_sweep.config.search import Search
from atod_sweep.config.space import OURS
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.objective import own_code
from atod_sweep.sweep.searches.draws import CubeDraw, Draw, random_units
from atod_sweep.sweep.studies.plan import with_horizons

_RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
PROBES = 200  # random draws that a space must survive before anything runs
_HORIZONS = 1000


@dataclass(frozen=True)
class Sample:
    """One point of a space. `params`: what was drawn, by branch name; `values`: what the config gets, by key."""

    params: dict[str, Any]
    values: dict[str, Any]
    config: dict[str, Any]

    @cached_property
    def hash(self) -> str:
        """Identity of the configuration, whatever its seed."""
        return content_hash({**self.config, "seed": 0})


class Infeasible(Exception):
    """A draw that breaks a constraint."""


@dataclass(frozen=True)
class Space:
    """Parameters over a base config."""

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...]
    base: dict[str, Any]
    where: str

    def draw(self, draw: Draw) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is drawn by branch name, and overrides of the base config by dotted key."""
        params: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            branch = parameter.active(values)
            if branch is None:
                continue
            drawn = _drawn(branch, draw)
            if not isinstance(branch.domain, Fixed):
                params[branch.name] = drawn
            values[parameter.key] = _value(branch.domain, drawn, values)
        return params, values

    def sample(self, draw: Draw) -> Sample:
        """Draw one point and resolve it. Raises Infeasible if it breaks a constraint or is no valid config."""
        params, values = self.draw(draw)
        for constraint in self.constraints:
            left = values.get(constraint.left)
            right = values.get(constraint.right) if isinstance(constraint.right, str) else constraint.right
            if left is not None and right is not None and not _RELATIONS[constraint.relation](left, right):
                raise Infeasible(f"{constraint} does not hold at {left} and {right}")
        try:
            data = with_overrides(Train, self.base, values)
            train = validate(Train, data, "config")
        except UserError as error:
            raise Infeasible(str(error)) from None
        own_code.check(train, f"{self.where}: parameters: ")
        config = train.model_dump(mode="json")
        for key, value in values.items():
            if (there := value_at(config, key)) != value:
                raise UserError(
                    f"{self.where}: parameters.{key}: {value!r} does not arrive in the config, which holds {there!r} "
                    "instead; write the value as it stands there, numbers without quotes"
                )
        return Sample(params, values, config)

    @property
    def is_conditional(self) -> bool:
        """Whether some parameters exist only beside certain values of others."""
        return any(branch.when for parameter in self.parameters for branch in parameter.branches)

    def distributions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What each of these parameters, by branch name, was drawn from, in Optuna's words."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        domains = {branch.name: branch.domain for parameter in self.parameters for branch in parameter.branches}
        found: dict[str, Any] = {}
        for name in params:
            match domain := domains[name]:
                case Choice():
                    found[name] = CategoricalDistribution(domain.labels)
                case Int():
                    found[name] = IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
                case Float():
                    found[name] = FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
        return found

    @property
    def varying(self) -> list[Parameter]:
        """Parameters that are not fixed."""
        return [p for p in self.parameters if any(not isinstance(b.domain, Fixed) for b in p.branches)]


def _value(domain: Domain, drawn: Any, values: Mapping[str, Any]) -> Any:
    """What the config gets for what was drawn."""
    match domain:
        case Fixed():
            return drawn
        case Choice():
            return domain.values[domain.labels.index(drawn)]
        case Float() | Int():
            if domain.plus is None:
                return drawn
            if domain.step is None:
                return drawn + values[domain.plus]
            total = on_grid(drawn, values[domain.plus], 1)
            return total if isinstance(domain, Float) else int(total)


def _drawn(branch: Branch, draw: Draw) -> Any:
    domain = branch.domain
    if isinstance(domain, Fixed):
        return domain.value
    value = draw(branch.name, domain)
    if isinstance(domain, Float) and domain.step is not None:
        return on_grid(domain.low, domain.step, round((value - domain.low) / domain.step))
    return value


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """What a resolved config holds at a dotted key: of a constant schedule the number; None where there is nothing."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node["start"] if isinstance(node, Mapping) and node.get("kind") == "constant" else node


# ---- from a file ----------------------------------------------------------------------------------------------------


def resolve_space(search: Search, folder: Path, where: str) -> Space:
    """The space of a search file, tried out on random draws. UserError if it has no valid point."""
    parameters, constraints = search.parsed(where)
    base = validate(Train, train_data(search.base, folder, f"{where}: base"), f"{where}: base").model_dump(mode="json")
    space = Space(parameters, constraints, with_horizons(base, _horizons(parameters, base, where)), where)
    reason = ""
    feasible = 0
    for units in random_units(0, PROBES):
        try:
            space.sample(CubeDraw(units))
            feasible += 1
        except Infeasible as error:
            reason = str(error)
    if feasible == 0:
        fixed = [b.domain.value for p in parameters for b in p.branches if isinstance(b.domain, Fixed)]
        hint = f"; here {OURS}" if any(isinstance(value, str | list) for value in fixed) else ""
        raise UserError(f"{where}: parameters: none of {PROBES} random draws is a valid config: {reason}{hint}")
    return space


def _horizons(parameters: tuple[Parameter, ...], base: Mapping[str, Any], where: str) -> list[int]:
    """Every horizon that a config of the space can have."""
    found: set[int] = set()
    for domain in (b.domain for p in parameters if p.key == "env.horizon" for b in p.branches):
        match domain:
            case Choice(values=values):
                found |= {value for value in values if isinstance(value, int)}
            case Fixed(value=value):
                found |= {value} if isinstance(value, int) else set()
            case Int(plus=None) if domain.size <= _HORIZONS:
                found |= set(range(domain.low, domain.high + 1, domain.step))
            case Int() | Float():
                raise UserError(
                    f"{where}: parameters.env.horizon: models are trained on every horizon, so these are at most "
                    f"{_HORIZONS} whole numbers, without plus; use int with a step, or choice"
                )
    return sorted(found or {base["env"]["horizon"]})
