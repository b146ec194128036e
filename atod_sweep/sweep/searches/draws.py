"""Ways to draw from a space: by an Optuna trial, from unit cubes, along a grid, from given values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from atod_sweep.config.domains import Choice, Float, Int, on_grid

Varying = Float | Int | Choice
# The name of a branch and its domain -> a value of it; a choice gives one of its labels.
Draw = Callable[[str, Varying], Any]


class OptunaDraw:
    """What an Optuna trial suggests."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def __call__(self, name: str, domain: Varying) -> Any:
        match domain:
            case Choice():
                return self._trial.suggest_categorical(name, domain.labels)
            case Int():
                return self._trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
            case Float():
                return self._trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)


class CubeDraw:
    """Maps coordinates in [0, 1) to values, one per draw, in the order in which the space asks.

    Uniform in [low, high], in its logarithm (of whole numbers: in that of [low, high + 1)), or on the steps from low.
    """

    def __init__(self, units: Iterator[float]) -> None:
        self._units = units

    def __call__(self, name: str, domain: Varying) -> Any:
        unit = next(self._units)
        match domain:
            case Int(log=True):
                return min(int(_between(domain.low, domain.high + 1, unit)), domain.high)
            case Float(log=True):
                return min(max(_between(domain.low, domain.high, unit), domain.low), domain.high)
            case Float(step=None):
                return domain.low + unit * (domain.high - domain.low)
            case Int() | Float() | Choice():
                return _value(domain, int(unit * domain.size))


def _between(low: float, high: float, unit: float) -> float:
    return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))


def _value(domain: Varying, index: int) -> Any:
    """The value of this index of a domain that has so many."""
    match domain:
        case Choice():
            return domain.labels[index]
        case Int():
            return domain.low + domain.step * index
        case Float():
            assert domain.step is not None
            return on_grid(domain.low, domain.step, index)


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
        self._taken: list[tuple[int, int]] = []  # (index, number of options) of every draw so far

    def __call__(self, name: str, domain: Varying) -> Any:
        depth = len(self._taken)
        index = self._wanted[depth] if depth < len(self._wanted) else 0
        self._taken.append((index, int(domain.size)))
        return _value(domain, index)

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

    def __call__(self, name: str, domain: Varying) -> Any:
        value = self._params[name]
        return value if isinstance(domain, Choice) else int(value) if isinstance(domain, Int) else float(value)
