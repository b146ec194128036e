"""Every combination; ranges need a step."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from atod_sweep.config.domains import Float
from atod_sweep.config.search import Grid, Search
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.draws import GridDraw
from atod_sweep.sweep.searches.samplers.listed import Listed
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space


def grid(space: Space, search: Search, sampler: Grid, starts: list[Sample]) -> Listed:
    """The starting points, then every combination. UserError for a range without a step."""

    def count() -> int:  # as far as it matters: each takes milliseconds
        found: set[str] = set()
        points = itertools.chain(starts, every_point(space))
        while len(found) < search.budget.configurations and (sample := next(points, None)) is not None:
            found.add(sample.hash)
        return len(found)

    return Listed(itertools.chain(starts, every_point(space)), count)


def every_point(space: Space) -> Iterator[Sample]:
    """Every feasible point of a space whose ranges have steps. UserError where one has none."""
    for parameter in space.parameters:
        for branch in parameter.branches:
            if isinstance(branch.domain, Float) and branch.domain.step is None:
                raise UserError(f"{space.where}: parameters.{parameter.key}: a grid needs a step, or a choice")
    return _paths(space)


def _paths(space: Space) -> Iterator[Sample]:
    draw: GridDraw | None = GridDraw()
    while draw is not None:
        with contextlib.suppress(Infeasible):
            yield space.sample(draw)
        draw = draw.next()
