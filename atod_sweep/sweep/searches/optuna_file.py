"""`optuna.journal` in a search's folder: the told configurations as an Optuna study, for Optuna's own tools to read.

    storage = JournalStorage(JournalFileBackend("runs/NAME/optuna.journal"))

A copy of what the ledger says. It is written anew whenever a search is taken up, so it cannot disagree.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atod_sweep.config.search import Search
from atod_sweep.config.space import Choice, Fixed, Int
from atod_sweep.sweep.searches.samplers.tpe import directions
from atod_sweep.sweep.searches.space import Sample, Space

NAME = "optuna.journal"


class OptunaFile:
    """Starts an empty file and adds configurations to it."""

    def __init__(self, run_dir: Path, search: Search, space: Space) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = run_dir / NAME
        for old in (path, path.with_name(f"{NAME}.lock")):
            old.unlink(missing_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(storage=storage, study_name=search.name, directions=directions(search))
        self._branches = {branch.name: branch for parameter in space.parameters for branch in parameter.branches}

    def add(self, arm: str, sample: Sample, state: str, values: Sequence[float] | None) -> None:
        """Store how a configuration ended (COMPLETE, PRUNED or FAIL)."""
        from optuna.trial import TrialState, create_trial

        trial = create_trial(
            state=TrialState[state],
            values=list(values or ()) if state == "COMPLETE" else None,
            params=sample.params,
            distributions={name: self._distribution(name) for name in sample.params},
            user_attrs={"arm": arm, "configuration": sample.hash},
            intermediate_values={0: values[0]} if state == "PRUNED" and values else {},
        )
        self._study.add_trial(trial)

    def _distribution(self, name: str) -> Any:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        domain = self._branches[name].domain
        assert not isinstance(domain, Fixed), name
        if isinstance(domain, Choice):
            return CategoricalDistribution(domain.values)
        if isinstance(domain, Int):
            return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
