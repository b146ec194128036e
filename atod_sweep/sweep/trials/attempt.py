"""One attempt at a trial, on whatever machine it lands: the only code of this package that runs in workers."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train
from atod_sweep.records.metric_names import EVALUATED, TOTALS, watched
from atod_sweep.records.status import Status
from atod_sweep.sweep.backends import ray_teacher
from atod_sweep.sweep.backends.ray_files import Cargo, address, place, push, unpack_models
from atod_sweep.sweep.trials import interrupts
from atod_sweep.sweep.trials.jobs import Attempt, Failure, Job, Row, load
from atod_sweep.sweep.trials.limits import OverMemory, OverTime, limited, most_held
from atod_sweep.sweep.user_code import as_driver
from atod_sweep.training import share


class _StoppedError(Exception):
    """An attempt that must not go on, for a reason the trainer knows nothing about."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


def execute(job: Job, report: Callable[[list[Row]], None]) -> Attempt:
    """Run one attempt. Whatever the trial's code raises comes back as a recorded failure, SystemExit and the like too.

    `report` gets the rows after every evaluation; what it raises is not the trial's fault and propagates, as does
    whatever ends the attempt after somebody asked this process to stop.
    """
    started = time.monotonic()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    relay = _Relay(job, report)
    try:
        with limited(job.bounds.seconds, job.bounds.memory_gb, job.bounds.may_exit) as relay.calm:
            metrics, cost = _run(job, relay)
            _check_metric(job, Attempt(0.0, worker, metrics, cost).totals)
    except BaseException as error:
        if error is relay.error or interrupts.asked():
            raise
        return Attempt(time.monotonic() - started, worker, error=_failure(error, job))
    return Attempt(time.monotonic() - started, worker, metrics, cost, memory=most_held())


def _run(job: Job, relay: _Relay) -> tuple[Row, Row]:
    config = validate(Train, job.config, job.trial)
    os.environ.setdefault("OMP_NUM_THREADS", str(config.runtime.threads))  # before anything imports numpy or torch
    share.take(job.bounds.share, None if job.teacher is None else ray_teacher.reach(job.teacher))
    if 0 < job.bounds.gpu < 1 and config.runtime.gpu_memory_fraction is None:
        _share_gpu(job.bounds.gpu)
    if job.model is not None:
        found = load(job.trainer.evaluate)(config, job.model.path, job.model.role)
        if final := {key: value for key, value in found.items() if key.startswith("final/")}:
            relay([{"phase": "final", "step": 0, **final}])
        metrics, cost = {key: value for key, value in found.items() if isinstance(value, int | float)}, {}
    else:
        result = load(job.trainer.train)(config, Path(job.directory), relay, resume=job.resume)
        metrics, cost = dict(result.final), dict(result.cost)
    return metrics, cost


def _share_gpu(part: float) -> None:
    """Ray only counts fractions of a GPU; this holds the process to its own."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(part)


class _Relay:
    """Passes rows on, and tells an error of the receiving side from one of the trainer."""

    def __init__(self, job: Job, report: Callable[[list[Row]], None]) -> None:
        self._job, self._report = job, report
        self.error: BaseException | None = None
        self.calm: contextlib.AbstractContextManager[object] = contextlib.nullcontext()

    def __call__(self, rows: list[Row]) -> None:
        for row in rows:
            if row["phase"] == "eval":
                _check_names(self._job, row)
        try:
            with self.calm:
                self._report(rows)
        except (OverTime, OverMemory):
            raise
        except BaseException as error:
            self.error = error
            raise


def _check_names(job: Job, row: Row) -> None:
    """Before the first training step: a misspelt name must not cost a study."""
    for name in job.metrics:
        if not name.startswith(TOTALS) or (name.startswith("cost/") and row["step"] == 0):
            continue  # numbers of training rows, and costs that may begin with training
        if watched(name) not in row:
            raise _missing(watched(name), row, "metric.name" if name == job.metrics[0] else "hypotheses or second")


def _missing(name: str, metrics: Row, where: str) -> _StoppedError:
    known = ", ".join(sorted(key for key in metrics if key.startswith(EVALUATED)))
    return _StoppedError(Status.MISSING_METRIC, f"{where}: the trial reports no {name!r}; it reports {known}")


def _check_metric(job: Job, metrics: Row) -> None:
    name = job.metrics[0]
    is_untrained = job.model is not None and name.startswith("cost/")
    if is_untrained or not name.startswith(TOTALS):  # whether training rows have others depends on the config
        return
    if name not in metrics:
        raise _missing(name, metrics, "metric.name")
    if not math.isfinite(metrics[name]):
        raise _StoppedError(Status.NAN_METRIC, f"the trial ended with {name} = {metrics[name]}")


def _failure(error: BaseException, job: Job) -> Failure:
    out_of_memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
    status = getattr(error, "status", None)
    if not isinstance(status, Status):  # exceptions of other libraries have a `status` too, such as HTTP's numbers
        status = Status.OUT_OF_MEMORY if out_of_memory else Status.EXCEPTION
    message = str(error)
    if isinstance(error, OverTime):
        message = f"took longer than resources.seconds = {job.bounds.seconds:g}"
    elif isinstance(error, OverMemory):
        message = f"its process held more than resources.memory_gb = {job.bounds.memory_gb:g}"
    elif not isinstance(error, Exception):
        message = f"the trial's code raised {error!r}, which ends a process: raise an exception that names the fault"
    return Failure(status, type(error).__name__.lstrip("_"), _writable(message), _writable(traceback.format_exc()))


def _writable(text: str) -> str:
    """Halves of characters, which no file takes, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


# ---- Ray ----------------------------------------------------------------------------------------------------------


def ray_trainable(config: dict[str, Any], cargo: Cargo, storage: str | None) -> None:
    """Ray Tune's function trainable: rows as they come, then the attempt, in one message each."""
    from ray import tune

    as_driver(config["cwd"], config["sys_path"])
    job: Job = config["job"]
    config.clear()  # Tune sends it back with every result
    _await_models(job)
    attempt = _execute_here(job, storage, cargo, lambda rows: tune.report({"rows": rows}))
    tune.report({"attempt": attempt, "done": True})


def _await_models(job: Job) -> None:
    """Import meanwhile what the attempt will need. If they cannot be built, the driver ends this process."""
    if missing := [Path(path) for path in job.awaits if not Path(path).is_dir()]:
        load(job.trainer.train)
        while not all(path.is_dir() for path in missing):
            time.sleep(0.05)


def _execute_here(job: Job, storage: str | None, cargo: Cargo, report: Callable[[list[Row]], None]) -> Attempt:
    """`execute` on any node: with the models it needs, in a folder that it sees."""
    try:
        unpack_models(cargo)
        placed = place(job, storage)
    except Exception as error:
        return Attempt(0.0, f"{socket.gethostname()}:{os.getpid()}", error=_failure(error, job))
    if placed is job or storage is None:
        return execute(job, report)
    target = address(job, storage)

    def report_and_push(rows: list[Row]) -> None:
        push(Path(placed.directory), target)
        report(rows)

    try:
        attempt = execute(placed, report_and_push)
        push(Path(placed.directory), target)
    finally:
        shutil.rmtree(placed.directory, ignore_errors=True)
    return attempt
