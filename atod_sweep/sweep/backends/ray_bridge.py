"""Ray Tune's side of the driver: a searcher that hands out attempts, a callback that brings back what happens.

Tune schedules, places and retires actors; which trial runs next, what is retried and what is written stays ours.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from atod_sweep.records.status import Status
from atod_sweep.sweep.backends import ray_internals
from atod_sweep.sweep.backends.ray_files import fetch
from atod_sweep.sweep.record.recorder import Recorder
from atod_sweep.sweep.trials.jobs import Attempt, Failure, Job, death, interrupted, pruned
from atod_sweep.sweep.trials.source import Source

_KEPT = {"training_iteration", "done", "hostname", "pid", "node_ip", "trial_id"}  # what Tune and we read of a result


@dataclass
class _Live:
    """An attempt that Tune has, and the time when its worker began (None: still waiting for one)."""

    job: Job
    began: float | None = None
    stopped: bool = False


class Bridge(tune.Callback):
    """Keeps the attempts that Tune has by Tune's own trial ids."""

    def __init__(
        self,
        source: Source,
        sink: Recorder,
        storage: str | None,
        width: Callable[[], int] = lambda: sys.maxsize,
        meanwhile: Callable[[], bool] = lambda: True,
    ) -> None:
        """`width`: how many attempts there may be at the moment. `meanwhile`: called now and then until it is True."""
        self._source, self._sink, self._storage, self._width = source, sink, storage, width
        self._meanwhile: Callable[[], bool] | None = meanwhile
        self._live: dict[str, _Live] = {}
        self.error: Exception | None = None

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        """Keep an error of ours (a full disk) as what it is: Tune would pass it on as the text of its own."""
        try:
            yield
        except Exception as error:
            self.error = error
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return Bridge, (None, None, None)  # Tune pickles its callbacks for a restore that we never ask for

    # -- what the searcher asks for

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next attempt as a Tune config; None: nothing right now."""
        if len(self._live) >= self._width():
            return None
        with self._ours():
            job = self._source.next()
        if job is None:
            return Searcher.FINISHED if self._source.finished else None
        self._live[trial_id] = _Live(job)
        return {"job": job}

    # -- what Tune reports

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        with self._ours():
            if self._meanwhile is not None and self._meanwhile():
                self._meanwhile = None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        live = self._live[trial.trial_id]
        live.began = time.monotonic()
        trial.experiment_tag = ""  # the whole config in words, which Tune would add to every result
        with self._ours():
            self._sink.started(live.job)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        live = self._live[trial.trial_id]
        for key in result.keys() - _KEPT - {"attempt", "rows"}:
            del result[key]  # Tune keeps means over many windows of every number that it finds
        if "attempt" in result:
            self._end(trial.trial_id, result.pop("attempt"))
        else:
            rows = result.pop("rows")  # Tune keeps the last result of every trial; this is too much to keep
            with self._ours():
                self._sink.rows(live.job, rows)
            if live.stopped:
                worker = f"{result['hostname']}:{result['pid']}"
                self._end(trial.trial_id, pruned(rows, time.monotonic() - (live.began or 0.0), worker))

    def decide(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the attempt should end with this result. Tune asks before it tells the callbacks."""
        live = self._live[trial_id]
        live.stopped = "rows" in result and self._source.should_stop(live.job, result["rows"])
        return live.stopped

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Empty the trial: Tune keeps every one for a table that nobody reads."""
        ray_internals.let_go(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker died, or Tune could not run the attempt."""
        ray_internals.let_go(trial)
        live = self._live.get(trial.trial_id)
        if live is None:
            return
        if live.began is None:
            with self._ours():
                self._sink.started(live.job)
        seconds = time.monotonic() - live.began if live.began is not None else 0.0
        self._end(trial.trial_id, death(live.job, seconds, _death(trial)))

    def _end(self, trial_id: str, attempt: Attempt) -> None:
        job = self._live.pop(trial_id).job
        with self._ours():
            if self._storage is not None:
                fetch(job, self._storage, Path(job.directory))
            self._sink.ended(job, attempt)
            self._source.ended(job, attempt)

    # -- the end of Tune

    def interrupt(self) -> None:
        """The driver was told to stop: file what was under way."""
        for live in self._live.values():
            if live.began is not None:
                self._sink.ended(live.job, interrupted(time.monotonic() - live.began))

    def check(self) -> None:
        """Raise if Tune stopped before the source was empty: never pass over work in silence."""
        if self._live or not self._source.finished:
            raise RuntimeError(f"Ray Tune stopped with {len(self._live)} attempts under way")


class Suggester(Searcher):
    """Tune's searcher interface to a bridge. Tune snapshots searchers; this one has nothing to restore."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(metric=None, mode=None)
        self._bridge = bridge

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return self._bridge.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass

    def __reduce__(self) -> tuple[Any, ...]:
        return Suggester, (None,)


class Stopper(FIFOScheduler):
    """Tune's scheduler interface to a bridge: first come, first served, and attempts end when the source says so."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.STOP if self._bridge.decide(trial.trial_id, result) else self.CONTINUE

    def __reduce__(self) -> tuple[Any, ...]:
        return Stopper, (None,)


def _death(trial: Any) -> Failure:
    """Why a worker is gone, from the file in which Tune keeps it."""
    path = Path(trial.error_file) if trial.error_file else None
    text = path.read_text(encoding="utf-8") if path and path.is_file() else "the worker process is gone"
    _, _, reason = text.rpartition("Failure # ")
    out_of_memory = "OutOfMemory" in text or "memory monitor" in text.lower()
    line = " ".join(line.strip() for line in reason.splitlines()[1:] or [reason] if line.strip())
    status = Status.OUT_OF_MEMORY if out_of_memory else Status.WORKER_DIED
    return Failure(status, "WorkerDied", line.split(". ")[0][:300], text)
