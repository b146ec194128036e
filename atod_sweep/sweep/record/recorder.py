"""The one place where both backends put what happens: ledger, metric files, MLflow and the console."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from atod_sweep.config.base import dump_yaml
from atod_sweep.config.study import Metric
from atod_sweep.records import layout
from atod_sweep.records.ledger import Ledger
from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.records.metric_names import EVALUATED
from atod_sweep.records.metrics import append_metrics, read_metrics, rewind
from atod_sweep.records.redaction import redacted
from atod_sweep.records.score import score
from atod_sweep.sweep.studies.plan import Trial
from atod_sweep.sweep.trials.jobs import Attempt, Job, Row
from atod_sweep.sweep.work import Goal


class Recorder:
    """Writes rows in the order in which they come.

    `listeners` get every ledger row of a trial, `heard` what a running attempt reports, after it is on disk.
    """

    def __init__(
        self,
        ledger: Ledger,
        goal: Goal,
        trials: Mapping[str, Trial],
        listeners: Sequence[Callable[[TrialRow], None]],
        heard: Callable[[Job, list[Row]], None],
    ) -> None:
        self._ledger, self._goal, self._trials = ledger, goal, trials
        self._listeners, self._heard = listeners, heard
        self._silent: set[tuple[str, int]] = set()  # attempts that have not reported yet

    def started(self, job: Job) -> None:
        folder = Path(job.directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / layout.CONFIG).write_text(dump_yaml(job.config), encoding="utf-8")
        self._silent.add((job.trial, job.attempt))
        self._write(job, {"state": "RUNNING"})

    def rows(self, job: Job, rows: list[Row]) -> None:
        """Rows of an attempt; the first ones of a resumed attempt replace what lies past its checkpoint."""
        path = Path(job.directory) / layout.METRICS
        if (job.trial, job.attempt) in self._silent:
            self._silent.remove((job.trial, job.attempt))
            rewind(path, rows)
        append_metrics(path, rows)
        self._heard(job, rows)

    def ended(self, job: Job, attempt: Attempt) -> None:
        reported = read_metrics(Path(job.directory) / layout.METRICS)
        first: Row = next((row for row in reported if row["phase"] == "eval"), {})
        row: Row = {
            "state": "FAILED" if attempt.error else "PRUNED" if attempt.pruned else "COMPLETE",
            "start_metrics": {key: value for key, value in first.items() if key.startswith(EVALUATED)},
            "cost": attempt.cost,
            "seconds": attempt.seconds,
            "worker": attempt.worker,
            "error": {key: redacted(text) for key, text in asdict(attempt.error).items()} if attempt.error else None,
        }
        if not attempt.error:
            row["metrics"] = attempt.metrics
            row |= {"memory": attempt.memory} if attempt.memory else {}
            row["score"] = _score(self._goal.metric, job, attempt, reported)
            if self._goal.second is not None:
                row["second"] = _score(self._goal.second, job, attempt, reported)
        self._silent.discard((job.trial, job.attempt))
        self._write(job, row)

    def _write(self, job: Job, more: Row) -> None:
        trial = self._trials[job.trial]
        row: dict[str, Any] = {
            "event": "trial",
            "time": time.time(),
            "trial": trial.id,
            "arm": trial.arm,
            "role": trial.role,
            "levels": trial.levels,
            "seed": trial.seed,
            "config_hash": trial.config_hash,
            **({"configuration": trial.configuration, "phase": trial.phase} if trial.phase else {}),
            "attempt": job.attempt,
            **more,
        }
        self._ledger.append(row)
        for listener in self._listeners:
            listener(cast(TrialRow, row))


def _score(metric: Metric, job: Job, attempt: Attempt, rows: list[Row]) -> float | None:
    return score(metric.name, metric.last, attempt.totals, rows, trained=job.model is None)
