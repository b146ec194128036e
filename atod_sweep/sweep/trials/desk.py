"""What a source of trials gets from the run, and whom it tells its decisions. It never touches the run itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atod_sweep.config.custom import named_in
from atod_sweep.errors import UserError
from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.sweep.studies.plan import Trial
from atod_sweep.sweep.trials.jobs import Job

FINISHED = ("COMPLETE", "PRUNED")


Judge = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class RunLimits:
    """How far a source may go. `time_budget`: seconds after which no further trial starts."""

    max_retries: int = 1
    time_budget: float | None = None
    max_trials: int | None = None


@dataclass(frozen=True)
class Desk:
    """The run as a source sees it.

    `latest`: the last ledger row of every trial, kept up to date while trials run. `at_a_time`: attempts side by side.
    `job` makes the next attempt at a trial. What a decision is told to has written it when it returns.
    """

    folder: Path
    definition_hash: str
    latest: Mapping[str, TrialRow]
    limits: RunLimits
    at_a_time: int
    job: Callable[[Trial], Job]
    record: Callable[[Mapping[str, Any]], None]
    """A decision, as a ledger row of its own kind: `configuration`, `told`, `earned`, `selection`, `look`."""
    redefine: Callable[[Mapping[str, Any]], None]
    """The study row changes: further seeds, the arms of a confirmation."""
    expect: Callable[[int], None]
    """From now on the run amounts to this many trials."""
    remark: Callable[[str], None]
    """A line for the reader."""
    judge: Judge | None = None
    """Looks at the claims of the run in a folder: what to record of them, with `decided` among it."""

    def is_finished(self, trial: Trial) -> bool:
        row = self.latest.get(trial.id)
        return row is not None and row["state"] in FINISHED

    def check(self, trials: Iterable[Trial]) -> None:
        """UserError if one of these ran before, with another config."""
        for trial in trials:
            row = self.latest.get(trial.id)
            if row is not None and row["config_hash"] != trial.config_hash:
                own = named_in(trial.config)
                what = "this version of the package resolves it differently"
                if own:
                    what = f"{' or '.join(own)} has changed since, or {what}; restore it"
                raise UserError(
                    f"{self.folder}: {trial.id} ran with another resolved config ({row['config_hash']}, now "
                    f"{trial.config_hash}): {what}{', or' if own else ';'} use --name or --overwrite"
                )

    def jobs(self, trials: Iterable[Trial]) -> list[Job]:
        """The next attempts at those of the trials that have no result yet."""
        return [self.job(trial) for trial in trials if not self.is_finished(trial)]
