"""Independent draws, made before anything runs."""

from __future__ import annotations

import itertools

from atod_sweep.config.search import Random, Search
from atod_sweep.sweep.searches.draws import random_units
from atod_sweep.sweep.searches.samplers.listed import Listed, feasible
from atod_sweep.sweep.searches.space import Sample, Space


def random(space: Space, search: Search, sampler: Random, starts: list[Sample]) -> Listed:
    """The starting points, then draw after draw of the sampler's seed."""
    return Listed(itertools.chain(starts, feasible(space, random_units(sampler.seed))))
