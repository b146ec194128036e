"""`optuna.journal` in a search's folder: the told configurations as an Optuna study, for Optuna's own tools to read.

One trial per configuration, with the mean of its seeds as value, and at every evaluation as intermediate value.
A copy of what the ledger says. It is written anew whenever a search is taken up, so it cannot disagree.
"""

from __future__ import annotations

import contextlib
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from atod_sweep.config.search import Search
from atod_sweep.records import layout
from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.searches.space import Sample, Space


class OptunaFile:
    """Starts an empty file and adds configurations to it.

    A copy must not end what it copies: whatever Optuna or the disk has against it is said once, and the search goes on.
    """

    def __init__(self, run_dir: Path, search: Search, space: Space, note: Callable[[str], object]) -> None:
        self._path, self._note = run_dir / layout.OPTUNA, note
        self._space, self._metric = space, search.metric.name
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
            study = optuna.create_study(storage=storage, study_name=search.name, directions=search.directions)
            study.set_metric_names([objective.name for objective in search.objectives])
        return study

    def add(
        self, arm: str, sample: Sample, state: str, values: Sequence[float] | None, trials: Sequence[TrialRow] = ()
    ) -> None:
        """Store how a configuration ended (COMPLETE, PRUNED or FAIL), and the last rows of its trials."""
        if self._study is None:
            return
        with self._guarded():
            self._study.add_trial(self._trial(arm, sample, state, values, trials))

    def _trial(
        self, arm: str, sample: Sample, state: str, values: Sequence[float] | None, trials: Sequence[TrialRow]
    ) -> Any:
        from optuna.trial import TrialState, create_trial

        curve = mean_curve([self._curve(row["trial"]) for row in trials])
        trial = create_trial(
            state=TrialState[state],
            values=list(values or ()) if state == "COMPLETE" else None,
            params=sample.params,
            distributions=self._space.distributions(sample.params),
            user_attrs={"arm": arm, "configuration": sample.hash, "seeds": [row["seed"] for row in trials]},
            intermediate_values=curve or ({0: values[0]} if state == "PRUNED" and values else {}),
        )
        if trials:
            trial.datetime_start = datetime.fromtimestamp(min(row["time"] - row.get("seconds", 0.0) for row in trials))
            trial.datetime_complete = datetime.fromtimestamp(max(row["time"] for row in trials))
        return trial

    def _curve(self, trial: str) -> dict[int, float]:
        rows = read_metrics(layout.trial_folder(self._path.parent, trial) / layout.METRICS)
        return {row["step"]: float(row[self._metric]) for row in rows if isinstance(row.get(self._metric), int | float)}


def mean_curve(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean over those that hold anything, at the steps that all of these have."""
    held = [curve for curve in curves if curve]
    steps = set.intersection(*(set(curve) for curve in held)) if held else set()
    return {step: statistics.fmean(curve[step] for curve in held) for step in sorted(steps)}
