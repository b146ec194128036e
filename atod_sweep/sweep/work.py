"""What a run is given and what it leaves, as records: the options, the work of a study or search, the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from atod_sweep.config.study import Hypothesis, Metric, Resources
from atod_sweep.errors import UserError
from atod_sweep.records.answer import Answer
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.record.progress import Progress
from atod_sweep.sweep.record.rundir import Extension
from atod_sweep.sweep.trials.desk import Desk, Judge, RunLimits
from atod_sweep.sweep.trials.jobs import Trainer
from atod_sweep.sweep.trials.source import Source


@dataclass(frozen=True)
class Site:
    """Where trials run and what is written where, beside the run's folder: what `resume` goes on with.

    `loggers`: names in `sweep.loggers.choice`, beside MLflow.
    """

    backend: Literal["ray", "local"] = "ray"
    concurrency: int | None = None
    address: str | None = None
    storage: str | None = None
    tracking_uri: str | None = None
    experiment: str | None = None
    loggers: Sequence[str] | None = None

    @property
    def started_with(self) -> dict[str, Any]:
        """All of it but defaults and credentials."""
        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}
        return {name: redacted(value) if isinstance(value, str) else value for name, value in given.items()}


_LEAST = {"max_retries": 0, "time_budget": 0, "max_trials": 1}


@dataclass(frozen=True)
class Options:
    """How a study or a search runs; none of it decides a trial's result."""

    site: Site = field(default_factory=Site)
    limits: RunLimits = field(default_factory=RunLimits)
    show: Progress | None = None
    """None: the console, in the way that suits it."""
    after: Callable[[Path], Answer | None] | None = None
    """Called with the run's folder when all trials have ended, before loggers close the run: what it writes there and
    the answer that it returns are stored with it."""
    judge: Judge | None = None
    trainer: Trainer = field(default_factory=Trainer)
    argv: tuple[str, ...] = ()

    @classmethod
    def of(cls, **given: Any) -> Options:
        """From keywords, each a field of this record, of its site or its limits.

        TypeError for a name of none, UserError for a limit that cannot be.
        """
        for name, least in _LEAST.items():
            value = given.get(name)
            if value is not None and not (isinstance(value, int | float) and value >= least):
                raise UserError(
                    f"{name}: expected a number, at least {least}, got {value!r}; leave it out for the usual"
                )

        def part(kind: type[Site] | type[RunLimits]) -> Any:
            return kind(**{one.name: given.pop(one.name) for one in fields(kind) if one.name in given})

        return cls(part(Site), part(RunLimits), **given)


@dataclass(frozen=True)
class RunOutcome:
    """What a run left: trials by their last state, and whether it was stopped before its end."""

    run_dir: Path
    total: int
    complete: int
    failed: int
    pruned: int
    interrupted: bool
    min_complete: float = 1.0

    @property
    def ok(self) -> bool:
        """Whether enough trials ended well: all of them, unless the study or search says otherwise."""
        return not self.interrupted and self.complete + self.pruned >= self.min_complete * self.total


@dataclass(frozen=True)
class Document:
    """What a run calls itself: the name of its folder, its file there with its text, a title for the console."""

    name: str
    file: str
    text: str
    title: str


@dataclass(frozen=True)
class Goal:
    """What trials are judged by. `sign`: -1 if small values of the metric are good; `min_complete`: share of trials
    that must complete for the run to count as successful."""

    metric: Metric
    second: Metric | None = None
    claims: tuple[Hypothesis, ...] = ()
    sign: float = 1.0
    min_complete: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """All metrics that every trial must report, whatever is claimed of its arm."""
        return tuple(dict.fromkeys(metric.name for metric in (self.metric, self.second) if metric))

    def reported(self, arm: str, levels: dict[str, str]) -> tuple[str, ...]:
        """What a trial of this arm at these levels must report, what it is judged by first."""
        claimed = (claim.metric for claim in self.claims if claim.concerns(arm, levels))
        return tuple(dict.fromkeys((*self.names, *claimed)))


@dataclass(frozen=True)
class Work:
    """What distinguishes a study from a search. `row`: the fields of its study row that it decides."""

    document: Document
    definition: dict[str, Any]
    row: dict[str, Any]
    goal: Goal
    configs: tuple[dict[str, Any], ...]
    total: int
    resources: Resources
    concurrency: int | None
    extension: Extension
    source: Callable[[Desk], Source]
