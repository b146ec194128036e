"""Trials on this machine without Ray: in this process, or in worker processes.

A worker takes one attempt after the other over a pipe and answers with rows as they come, then with the attempt. One
that dies costs its attempt alone, where in this process it would cost the run: so trials with code that is not ours,
which may crash or call `os._exit`, run in a worker even one at a time (`workers_for`). Workers are spawned, so a script
that calls `run_study` with workers needs the usual `if __name__ == "__main__":`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from atod_sweep.envs.children import settle, started_safely
from atod_sweep.envs.registry import is_shipped
from atod_sweep.errors import Stopped, UserError
from atod_sweep.records.status import Status
from atod_sweep.sweep.record.recorder import Recorder
from atod_sweep.sweep.trials.attempt import execute
from atod_sweep.sweep.trials.interrupts import asked, held, stoppable
from atod_sweep.sweep.trials.jobs import Attempt, Failure, Job, Row, death, interrupted, pruned
from atod_sweep.sweep.trials.limits import GRACE
from atod_sweep.sweep.trials.source import Source

_LOOK = 1.0  # seconds between looks at workers that are gone while children of theirs hold their pipe open
_LAST_WORDS = 5.0  # seconds that a worker which closed its pipe gets to say its exit code


def workers_for(at_a_time: int, asked: int | None, env_ids: Iterable[str]) -> int:
    """Worker processes for `at_a_time` attempts side by side; 0: they run in this process.

    That saves a worker's start (some seconds), and is for one at a time in shipped environments, or where exactly one
    was `asked` for: a debugger needs it.
    """
    ours = all(map(is_shipped, env_ids))
    return 0 if at_a_time == 1 and (ours or asked == 1) else at_a_time


def run_local(source: Source, sink: Recorder, workers: int) -> None:
    """All attempts: one after the other in this process, or in so many `workers` beside each other.

    KeyboardInterrupt, also on SIGTERM, once the ledger knows and no worker is left. UserError if no worker can start.
    """
    with stoppable():
        if workers == 0:
            _run_here(source, sink)
        else:
            _Pool(source, sink, workers).run()


def _run_here(source: Source, sink: Recorder) -> None:
    while (job := source.next()) is not None:

        def should_stop(rows: list[Row], job: Job = job) -> bool:
            _heed_stop()
            sink.rows(job, rows)
            return source.should_stop(job, rows)

        sink.started(job)
        began = time.monotonic()
        try:
            attempt = _attempt(job, should_stop)
        except BaseException:
            if not asked():
                raise  # the recorder's: it has no room to write in
            sink.ended(job, interrupted(time.monotonic() - began))
            raise KeyboardInterrupt from None
        sink.ended(job, attempt)
        source.ended(job, attempt)
        _heed_stop()


def _heed_stop() -> None:
    """The trial's code may have caught what told it to stop."""
    if asked():
        raise KeyboardInterrupt


class _Pruned(Stopped):
    """Ends an attempt from inside its report."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.rows = rows


def _attempt(job: Job, should_stop: Callable[[list[Row]], bool]) -> Attempt:
    """Run one attempt in this process. `should_stop` takes its rows and says whether it ends with them."""

    def report(rows: list[Row]) -> None:
        if should_stop(rows):
            raise _Pruned(rows)

    started = time.monotonic()
    try:
        return execute(job, report)
    except _Pruned as stop:
        return pruned(stop.rows, time.monotonic() - started, "")


# ---- the driver's side ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Worker:
    """A process, the pipe to it, and the attempt that it is at (None: free)."""

    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    began: float = 0.0

    @property
    def is_overdue(self) -> bool:
        """Whether its attempt is past its time although it should have ended itself: the process was stopped, say."""
        limit = self.job.bounds.seconds if self.job is not None else None
        return limit is not None and time.monotonic() - self.began > limit + 2 * GRACE

    def send(self, message: Job | bool) -> None:
        """A worker that is gone shows when it is listened to."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def hear(self) -> list[Row] | Attempt | _Ready | None:
        """The next message; None if the worker is gone."""
        try:
            message: list[Row] | Attempt | _Ready = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return message

    def end(self) -> None:
        """At once: what an attempt needs to go on is on disk."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Ready(NamedTuple):
    """A worker's first message."""


class _Pool:
    """Up to `size` workers, started when there is work for them."""

    def __init__(self, source: Source, sink: Recorder, size: int) -> None:
        self._source, self._sink, self._size = source, sink, size
        self._workers: list[_Worker] = []
        self._started = False  # whether a worker ever was

    def run(self) -> None:
        with started_safely():
            resource_tracker.ensure_running()  # its start would undo what `_shielded` does
        try:
            while self._hand_out():
                for worker in self._talking():
                    self._listen(worker)
        except KeyboardInterrupt:
            for worker in self._workers:
                if worker.job is not None:
                    self._sink.ended(worker.job, interrupted(time.monotonic() - worker.began))
            raise
        finally:
            for worker in self._workers:
                worker.end()

    @property
    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]

    def _hand_out(self) -> bool:
        """Give free workers what there is to do; False if nothing is under way."""
        while len(self._busy) < self._size and (job := self._source.next()) is not None:
            worker = self._free()
            worker.job, worker.began = job, time.monotonic()
            self._sink.started(job)
            worker.send(job)
        return bool(self._busy)

    def _free(self) -> _Worker:
        for worker in self._workers:
            if worker.job is None and worker.process.is_alive():
                return worker
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        worker = _Worker(context.Process(target=_serve, args=(theirs,), name="atod-sweep-worker"), ours)
        with held(), _shielded(), started_safely():
            worker.process.start()
            self._workers.append(worker)
        theirs.close()
        return worker

    def _talking(self) -> list[_Worker]:
        """Workers with a message, or dead; waits for one."""
        while True:
            ready = wait([worker.pipe for worker in self._busy], _LOOK)
            found = [
                worker
                for worker in self._busy
                if worker.pipe in ready or worker.is_overdue or not worker.process.is_alive()
            ]
            if found:
                return found

    def _listen(self, worker: _Worker) -> None:
        assert worker.job is not None
        message = worker.hear() if worker.pipe.poll() else None
        if isinstance(message, _Ready):
            self._started = True
            return
        if isinstance(message, list):
            self._sink.rows(worker.job, message)
            worker.send(self._source.should_stop(worker.job, message))
            return
        job = worker.job
        attempt = message or self._bury(worker, job)
        worker.job = None
        self._sink.ended(job, attempt)
        self._source.ended(job, attempt)

    def _bury(self, worker: _Worker, job: Job) -> Attempt:
        seconds = time.monotonic() - worker.began
        worker.process.join(_LAST_WORDS)
        code = worker.process.exitcode
        worker.end()
        self._workers.remove(worker)
        how = f"ended with exit code {code}" if code is None or code >= 0 else f"was killed by signal {-code}"
        if not self._started:
            raise UserError(
                f"--backend local: no worker can start, the first one {how}; a script that runs studies needs "
                '`if __name__ == "__main__":` around them, or concurrency=1, which keeps trials in its own process'
            )
        return death(job, seconds, Failure(Status.WORKER_DIED, "WorkerDied", f"the worker process {how}"))


@contextlib.contextmanager
def _shielded() -> Iterator[None]:
    """A process that is started inside never sees Ctrl-C, which the terminal sends to all: the driver ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- in the worker --------------------------------------------------------------------------------------------------


def _serve(pipe: Connection) -> None:
    settle()
    driver = multiprocessing.parent_process()
    assert driver is not None
    threading.Thread(target=_follow, args=(driver,), name="driver", daemon=True).start()
    os.dup2(2, 1)  # the driver's stdout may be read by a machine: what a trainer prints goes to stderr

    def should_stop(rows: list[Row]) -> bool:
        pipe.send(rows)
        return bool(pipe.recv())

    with contextlib.suppress(EOFError, OSError):  # the driver's end is closed; an attempt's own errors never get here
        pipe.send(_Ready())
        while True:
            pipe.send(_attempt(pipe.recv(), should_stop))


def _follow(driver: BaseProcess) -> None:
    """Leave with the driver, even if it was killed in the middle of a step: a resumed run may start this trial anew."""
    wait([driver.sentinel])
    os._exit(1)
