"""Where configurations come from, one file per sampler, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from atod_sweep.config import search as config
from atod_sweep.config.kinds import one_each
from atod_sweep.config.search import Search
from atod_sweep.sweep.searches.samplers.grid import grid
from atod_sweep.sweep.searches.samplers.optuna import AnyOptuna
from atod_sweep.sweep.searches.samplers.qmc import qmc
from atod_sweep.sweep.searches.samplers.random import random
from atod_sweep.sweep.searches.samplers.tpe import Estimator
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space


class Proposer(Protocol):
    """Hands out configurations one by one, and is told what became of them by their number (0, 1, ...)."""

    def ask(self) -> Sample | Infeasible | None:
        """The next point; None if there are no more."""

    def recall(self, number: int, params: Mapping[str, Any]) -> Sample | None:
        """Take back point `number` of a search that resumes; None: it is to be asked again, and proposes the same."""

    def tell(self, number: int, state: str, values: Sequence[float] | None) -> None:
        """How point `number` ended: COMPLETE with a mean per objective, PRUNED with what it reached, or FAIL."""

    def total(self) -> int | None:
        """How many points there are, as far as the budget asks for them; None: it never runs out."""


# From a space, the search's file, the sampler's own config and the starting points.
SAMPLERS: dict[str, Callable[..., Proposer]] = one_each(
    config.Sampler, {"tpe": Estimator, "random": random, "grid": grid, "qmc": qmc, "optuna": AnyOptuna}
)


def proposer(space: Space, search: Search, starts: list[Sample]) -> Proposer:
    """The proposer of a search file. UserError where sampler and space do not go together."""
    return SAMPLERS[search.sampler.kind](space, search, search.sampler, starts)
