"""`optuna.db` in a search's folder: the told configurations as an Optuna study, for Optuna's own tools to read.

A copy of what the ledger says; nothing is ever read back from it but which configurations it has.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atod_sweep.config.search import Search
from atod_sweep.config.space import Choice, Fixed, Int
from atod_sweep.sweep.proposals import directions
from atod_sweep.sweep.space import Sample, Space

NAME = "optuna.db"


class OptunaFile:
    """Adds configurations that are not in it yet."""

    def __init__(self, run_dir: Path, search: Search, space: Space) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study = optuna.create_study(
                storage=f"sqlite:///{(run_dir / NAME).resolve()}",
                study_name=search.name,
                directions=directions(search),
                load_if_exists=True,
            )
        self._has = {trial.user_attrs["arm"] for trial in self._study.get_trials(deepcopy=False)}
        self._branches = {branch.name: branch for parameter in space.parameters for branch in parameter.branches}

    def add(self, arm: str, sample: Sample, state: str, values: Sequence[float] | None) -> None:
        """Store how a configuration ended (COMPLETE, PRUNED or FAIL)."""
        from optuna.trial import TrialState, create_trial

        if arm in self._has:
            return
        complete = state == "COMPLETE"
        reached = {0: values[0]} if state == "PRUNED" and values else {}
        trial = create_trial(
            state=TrialState[state],
            values=list(values or ()) if complete else None,
            params=sample.params,
            distributions={name: self._distribution(name) for name in sample.params},
            user_attrs={"arm": arm, "configuration": sample.hash},
            intermediate_values=reached,
        )
        self._study.add_trial(trial)
        self._has.add(arm)

    def _distribution(self, name: str) -> Any:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        domain = self._branches[name].domain
        assert not isinstance(domain, Fixed), name
        if isinstance(domain, Choice):
            return CategoricalDistribution(domain.values)
        if isinstance(domain, Int):
            return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
