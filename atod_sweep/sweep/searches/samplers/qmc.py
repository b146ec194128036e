"""A scrambled Sobol sequence: more even than random draws; for spaces without conditions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from atod_sweep.config.search import QMC, Search
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.samplers.listed import Listed, feasible
from atod_sweep.sweep.searches.space import Sample, Space


def qmc(space: Space, search: Search, sampler: QMC, starts: list[Sample]) -> Listed:
    """The starting points, then the sequence of the sampler's seed. UserError for a space with conditions."""
    return Listed(itertools.chain(starts, feasible(space, _sobol(space, sampler.seed))))


def _sobol(space: Space, seed: int) -> Iterator[Iterator[float]]:
    from scipy.stats.qmc import Sobol

    if space.is_conditional:
        name = next(p.key for p in space.parameters if any(b.when for b in p.branches))
        raise UserError(
            f"{space.where}: sampler.kind: 'qmc' needs a space without conditions, but {name} has one; "
            "use random or tpe"
        )
    engine = Sobol(len(space.varying), scramble=True, rng=seed)
    return (iter(map(float, row)) for _ in itertools.count() for row in engine.random(256))
