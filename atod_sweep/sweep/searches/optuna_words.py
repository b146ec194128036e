"""A search in Optuna's words: directions and distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atod_sweep.config.domains import Choice, Fixed, Int
from atod_sweep.config.search import Search
from atod_sweep.sweep.searches.space import Space


def directions(search: Search) -> list[str]:
    """The modes of the objectives."""
    return ["maximize" if objective.mode == "max" else "minimize" for objective in search.objectives]


def distributions(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """What each of these parameters, by branch name, was drawn from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    domains = {branch.name: branch.domain for parameter in space.parameters for branch in parameter.branches}
    found: dict[str, Any] = {}
    for name in params:
        domain = domains[name]
        assert not isinstance(domain, Fixed), name
        if isinstance(domain, Choice):
            found[name] = CategoricalDistribution(domain.labels)
        elif isinstance(domain, Int):
            found[name] = IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
        else:
            found[name] = FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    return found
