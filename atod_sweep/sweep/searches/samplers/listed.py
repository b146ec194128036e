"""Points that do not depend on results, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from atod_sweep.sweep.searches.draws import CubeDraw
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space


class Listed:
    """The same points in the same order at any concurrency. `count` says how many there are, if they come to an end."""

    def __init__(self, points: Iterator[Sample], count: Callable[[], int] | None = None) -> None:
        self._points, self._count = points, count

    def total(self) -> int | None:
        return self._count() if self._count else None

    def ask(self) -> Sample | Infeasible | None:
        return next(self._points, None)

    def recall(self, number: int, params: Mapping[str, Any]) -> None:
        """Its points come in the same order."""

    def tell(self, number: int, state: str, values: Sequence[float] | None) -> None:
        """Nothing is learned from it."""


def feasible(space: Space, cubes: Iterator[Iterator[float]]) -> Iterator[Sample]:
    """The points of a space at coordinates in the unit cube; those that break a constraint are left out."""
    for units in cubes:
        with contextlib.suppress(Infeasible):
            yield space.sample(CubeDraw(units))
