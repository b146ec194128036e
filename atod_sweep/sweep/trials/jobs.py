"""What travels between the driver and a worker: one attempt at a trial out, rows and one result back."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from atod_sweep.errors import UserError
from atod_sweep.records.metric_names import EVALUATED
from atod_sweep.records.status import Status

Row = dict[str, Any]


@dataclass(frozen=True)
class Trainer:
    """Dotted paths of the code that trials run; workers import it, so it is named and not passed."""

    train: str = "atod_sweep.training.loop.runners:train"
    evaluate: str = "atod_sweep.training.loop.trainer:evaluate_model"
    ensure: str = "atod_sweep.training.pretraining.cache:ensure"


def load(path: str) -> Callable[..., Any]:
    """The object at `module:name`."""
    module, _, name = path.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{path!r}: cannot be imported: {error}; write module:function") from None
    return found


@dataclass(frozen=True)
class Bounds:
    """What one attempt may take. `seconds` of wall clock; `memory_gb` (10^9 bytes) resident; `gpu`: of its own, below 1
    a share of one. `may_exit`: whether the process is the attempt's own, and may be ended with it. `share`: of the
    memory that its device has, which others run on as well."""

    seconds: float | None = None
    memory_gb: float | None = None
    gpu: float = 0.0
    may_exit: bool = False
    share: float = 1.0


@dataclass(frozen=True)
class SavedModel:
    """A model that is evaluated in place of training: where it is ("" behind an API), and which of the config's."""

    path: str
    role: Literal["teacher", "base"]


@dataclass(frozen=True)
class Job:
    """One attempt at one trial. Paths are absolute.

    `metrics`: what evaluations must report: the metric that trials are judged by, then those of claims and of a second
    objective. `model`: set for trials of a teacher or a base student. `awaits`: folders of models that are being built;
    the attempt begins once they are there. `teacher`: which of those that a node's trials share is this one's, if any.
    """

    trial: str
    attempt: int
    config: dict[str, Any]
    directory: str
    metrics: tuple[str, ...]
    trainer: Trainer
    model: SavedModel | None = None
    bounds: Bounds = Bounds()
    awaits: tuple[str, ...] = ()
    teacher: str | None = None

    @property
    def resume(self) -> bool:
        """Whether there may be a checkpoint to continue from."""
        return self.attempt > 1


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended badly."""

    status: Status
    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended: with final metrics, or with a failure. `cost`: totals, by names such as env_steps.

    `memory`: the most bytes that its process has held, in earlier attempts perhaps (0: not known).
    """

    seconds: float
    worker: str
    metrics: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    error: Failure | None = None
    pruned: bool = False
    memory: int = 0

    @property
    def totals(self) -> dict[str, float]:
        """Final metrics, and costs under the names that they have in rows (cost/env_steps)."""
        return {**{f"cost/{name}": value for name, value in self.cost.items()}, **self.metrics}


def interrupted(seconds: float) -> Attempt:
    """What becomes of an attempt when the driver is told to stop."""
    return Attempt(
        seconds, "", error=Failure(Status.INTERRUPTED, "KeyboardInterrupt", "stopped from outside; --resume continues")
    )


def pruned(rows: list[Row], seconds: float, worker: str) -> Attempt:
    """An attempt that was stopped early, with what it had reached in its last rows."""
    last = rows[-1]
    metrics = {key: value for key, value in last.items() if key.startswith(EVALUATED)}
    cost = {key.removeprefix("cost/"): value for key, value in last.items() if key.startswith("cost/")}
    return Attempt(seconds, worker, metrics, cost, pruned=True)


def death(job: Job, seconds: float, failure: Failure) -> Attempt:
    """An attempt whose process is gone: a timeout if its time was up, else what `failure` says."""
    if job.bounds.seconds is not None and seconds > job.bounds.seconds:
        message = f"took longer than resources.seconds = {job.bounds.seconds:g}"
        failure = replace(failure, status=Status.TIMEOUT, message=message)
    return Attempt(seconds, "", error=failure)
