"""`optuna.journal` in a search's folder: the told configurations as an Optuna study, for Optuna's own tools to read.

    storage = JournalStorage(JournalFileBackend("runs/NAME/optuna.journal"))

A copy of what the ledger says. It is written anew whenever a search is taken up, so it cannot disagree.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from atod_sweep.config.search import Search
from atod_sweep.config.space import Choice, Fixed, Int
from atod_sweep.records import layout
from atod_sweep.sweep.searches.samplers.tpe import directions
from atod_sweep.sweep.searches.space import Sample, Space


class OptunaFile:
    """Starts an empty file and adds configurations to it.

    A copy must not end what it copies: whatever Optuna or the disk has against it is said once, and the search goes on.
    """

    def __init__(self, run_dir: Path, search: Search, space: Space, note: Callable[[str], object]) -> None:
        self._path, self._note = run_dir / layout.OPTUNA, note
        self._branches = {branch.name: branch for parameter in space.parameters for branch in parameter.branches}
        self._study: Any = None
        with self._guarded():
            self._study = self._empty(search)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of Optuna, of whatever its storage meets
            self._study = None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._note(f"{self._path}: the copy for Optuna's tools is not complete: {reason}; the search goes on")

    def _empty(self, search: Search) -> Any:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        for old in (self._path, self._path.with_name(f"{layout.OPTUNA}.lock")):
            old.unlink(missing_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = JournalStorage(JournalFileBackend(str(self._path)))
        return optuna.create_study(storage=storage, study_name=search.name, directions=directions(search))

    def add(self, arm: str, sample: Sample, state: str, values: Sequence[float] | None) -> None:
        """Store how a configuration ended (COMPLETE, PRUNED or FAIL)."""
        if self._study is None:
            return
        with self._guarded():
            self._study.add_trial(self._trial(arm, sample, state, values))

    def _trial(self, arm: str, sample: Sample, state: str, values: Sequence[float] | None) -> Any:
        from optuna.trial import TrialState, create_trial

        return create_trial(
            state=TrialState[state],
            values=list(values or ()) if state == "COMPLETE" else None,
            params=sample.params,
            distributions={name: self._distribution(name) for name in sample.params},
            user_attrs={"arm": arm, "configuration": sample.hash},
            intermediate_values={0: values[0]} if state == "PRUNED" and values else {},
        )

    def _distribution(self, name: str) -> Any:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        domain = self._branches[name].domain
        assert not isinstance(domain, Fixed), name
        if isinstance(domain, Choice):
            return CategoricalDistribution(domain.labels)
        if isinstance(domain, Int):
            return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
