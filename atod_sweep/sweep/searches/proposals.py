"""Where configurations come from: points that do not depend on results (random, grid, QMC), or Optuna's TPE."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from atod_sweep.config.search import QMC, TPE, Grid, Random, Search
from atod_sweep.config.space import Float
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.draws import CubeDraw, GridDraw, random_units
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space


class Proposer(Protocol):
    """Hands out configurations one by one, and is told what became of them by their number (0, 1, ...)."""

    def ask(self) -> Sample | Infeasible | None:
        """The next point; None if there are no more."""

    def tell(self, number: int, state: str, values: Sequence[float] | None) -> None:
        """How point `number` ended: COMPLETE with a mean per objective, PRUNED with what it reached, or FAIL."""


class Listed:
    """Points that do not depend on results: the same ones in the same order at any concurrency."""

    def __init__(self, points: Iterator[Sample]) -> None:
        self._points = points

    def ask(self) -> Sample | Infeasible | None:
        """The next point of the list."""
        return next(self._points, None)

    def tell(self, number: int, state: str, values: Sequence[float] | None) -> None:
        """Nothing is learned from it."""


class Estimator:
    """Optuna's TPE. Asked and told in the same order, it proposes the same points: that is how a search resumes."""

    def __init__(self, space: Space, search: Search, sampler: TPE, starts: list[Sample]) -> None:
        import warnings

        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pinned = optuna.samplers.TPESampler(
                n_startup_trials=sampler.startup,
                n_ei_candidates=sampler.candidates,
                multivariate=sampler.multivariate,
                group=sampler.group,
                constant_liar=sampler.constant_liar,
                seed=sampler.seed,
            )
        self._study = optuna.create_study(sampler=pinned, directions=directions(search))
        for sample in starts:
            self._study.enqueue_trial(sample.params)
        self._trials: dict[int, Any] = {}

    def ask(self) -> Sample | Infeasible | None:
        """The next point, given everything told so far."""
        trial = self._study.ask()
        self._trials[trial.number] = trial
        try:
            return self._space.sample(trial)
        except Infeasible as infeasible:
            return infeasible

    def tell(self, number: int, state: str, values: Sequence[float] | None) -> None:
        """Learn from one result."""
        from optuna.trial import TrialState

        trial = self._trials.pop(number)
        if state == "COMPLETE":
            self._study.tell(trial, list(values or ()))
            return
        if state == "PRUNED" and values and len(self._study.directions) == 1:
            trial.report(values[0], step=0)  # what it reached; without it TPE would rank it below all others
        self._study.tell(trial, state=TrialState.PRUNED if state == "PRUNED" else TrialState.FAIL)


def directions(search: Search) -> list[str]:
    """Optuna's words for the modes of the objectives."""
    return ["maximize" if objective.mode == "max" else "minimize" for objective in search.objectives]


def proposer(space: Space, search: Search, starts: list[Sample]) -> Proposer:
    """The proposer of a search file. UserError where sampler and space do not go together."""
    match search.sampler:
        case TPE() as sampler:
            return Estimator(space, search, sampler, starts)
        case Random(seed=seed):
            points = _feasible(space, random_units(seed))
        case Grid():
            points = grid(space)
        case QMC(seed=seed):
            points = _feasible(space, _sobol(space, seed))
    return Listed(itertools.chain(starts, points))


def _feasible(space: Space, cubes: Iterator[Iterator[float]]) -> Iterator[Sample]:
    for units in cubes:
        with contextlib.suppress(Infeasible):
            yield space.sample(CubeDraw(units))


def _sobol(space: Space, seed: int) -> Iterator[Iterator[float]]:
    from scipy.stats import qmc

    if space.is_conditional:
        name = next(p.key for p in space.parameters if any(b.when for b in p.branches))
        raise UserError(
            f"{space.where}: sampler.kind: 'qmc' needs a space without conditions, but {name} has one; "
            "use random or tpe"
        )
    engine = qmc.Sobol(len(space.varying), scramble=True, rng=seed)
    return (iter(map(float, row)) for _ in itertools.count() for row in engine.random(256))


def grid(space: Space) -> Iterator[Sample]:
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
