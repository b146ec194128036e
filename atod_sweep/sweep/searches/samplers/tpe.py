"""Optuna's tree-structured Parzen estimator: where the next configuration looks promising after the last results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atod_sweep.config.search import TPE, Search
from atod_sweep.sweep.searches.draws import OptunaDraw
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space


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
        self._study = optuna.create_study(sampler=pinned, directions=search.directions)
        for sample in starts:
            self._study.enqueue_trial(sample.params)
        self._trials: dict[int, Any] = {}

    def total(self) -> None:
        """It never runs out."""

    def ask(self) -> Sample | Infeasible | None:
        trial = self._study.ask()
        self._trials[trial.number] = trial
        try:
            return self._space.sample(OptunaDraw(trial))
        except Infeasible as infeasible:
            return infeasible

    def recall(self, number: int, params: Mapping[str, Any]) -> None:
        """Asked again, it proposes the same."""

    def tell(self, number: int, state: str, values: Sequence[float] | None) -> None:
        from optuna.trial import TrialState

        trial = self._trials.pop(number)
        if state == "COMPLETE":
            self._study.tell(trial, list(values or ()))
            return
        if state == "PRUNED" and values and len(self._study.directions) == 1:
            trial.report(values[0], step=0)  # what it reached; without it TPE would rank it below all others
        self._study.tell(trial, state=TrialState.PRUNED if state == "PRUNED" else TrialState.FAIL)
