"""Ways to draw from a space other than Optuna's: from unit cubes, along a grid, from given values.

All have the `suggest_*` methods of an Optuna trial, so that a space need not know the difference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from atod_sweep.config.domains import Scalar, on_grid, steps_between


class CubeDraw:
    """Maps coordinates in [0, 1) to values, one per suggestion, in the order in which the space asks."""

    def __init__(self, units: Iterator[float]) -> None:
        self._units = units

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        """Uniform in [low, high] (in its logarithm), or on the steps from low."""
        unit = next(self._units)
        if step is not None:
            return on_grid(low, step, int(unit * (steps_between(low, high, step) + 1)))
        if log:
            return min(max(math.exp(math.log(low) + unit * (math.log(high) - math.log(low))), low), high)
        return low + unit * (high - low)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """Uniform on the steps from low; with `log`, in the logarithm of [low, high + 1)."""
        unit = next(self._units)
        if log:
            return min(int(math.exp(math.log(low) + unit * (math.log(high + 1) - math.log(low)))), high)
        return low + step * int(unit * ((high - low) // step + 1))

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return choices[int(next(self._units) * len(choices))]


def random_units(seed: int, draws: int | None = None) -> Iterator[Iterator[float]]:
    """Independent uniform coordinates, `draws` times (None: for ever). Draw i is the same however long others were."""
    for i in itertools.count() if draws is None else range(draws):
        yield _endless(np.random.default_rng([seed, i]))


def _endless(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield float(rng.random())


class GridDraw:
    """One path through the choices of a space; `next` is the path after it, depth first."""

    def __init__(self, path: Sequence[int] = ()) -> None:
        self._wanted = list(path)
        self._taken: list[tuple[int, int]] = []  # (index, number of options) of every suggestion so far

    def _pick(self, size: int) -> int:
        depth = len(self._taken)
        index = self._wanted[depth] if depth < len(self._wanted) else 0
        self._taken.append((index, size))
        return index

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        assert step is not None, name
        return on_grid(low, step, self._pick(steps_between(low, high, step) + 1))

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        return low + step * self._pick((high - low) // step + 1)

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return choices[self._pick(len(choices))]

    def next(self) -> GridDraw | None:
        path = list(self._taken)
        while path:
            index, size = path.pop()
            if index + 1 < size:
                return GridDraw([i for i, _ in path] + [index + 1])
        return None


class GivenDraw:
    """Values by name; KeyError for one that is missing."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        return float(self._params[name])

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        return int(self._params[name])

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        value: Scalar = self._params[name]
        return value
