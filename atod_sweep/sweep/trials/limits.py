"""Wall-clock and memory limits of one attempt, watched from a thread of its own process."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from atod_sweep.errors import Stopped
from atod_sweep.records.status import Status

INTERVAL = 0.5  # seconds between looks
GRACE = 15.0  # seconds that an attempt gets to end by itself


class OverTime(Stopped):
    """The attempt took longer than it may."""

    status = Status.TIMEOUT


class OverMemory(Stopped):
    """The attempt's process holds more memory than it may."""

    status = Status.OUT_OF_MEMORY


@contextlib.contextmanager
def limited(
    seconds: float | None, memory_gb: float | None, may_exit: bool
) -> Iterator[contextlib.AbstractContextManager[object]]:
    """Raise OverTime or OverMemory inside the block once a limit is passed (None: no limit).

    In a process's main thread this also ends a wait; elsewhere it reaches Python code only. With `may_exit`, a process
    that does not end within GRACE more seconds, because it sits in foreign code, is ended outright. Yields a context in
    which no limit strikes: what must not be cut in half runs in it.
    """
    if seconds is None and memory_gb is None:
        yield contextlib.nullcontext()
        return
    in_main = threading.current_thread() is threading.main_thread() and hasattr(signal, "pthread_kill")
    striker = _BySignal() if in_main else _ByException()
    watch = _Watch(seconds, memory_gb, may_exit, striker)
    watch.start()
    try:
        yield striker.calm
    finally:
        striker.over = True  # before any call: between calls nothing is delivered
        watch.stop()
        striker.end()


class _Watch(threading.Thread):
    """Looks at time and memory, and has the striker strike."""

    def __init__(
        self, seconds: float | None, memory_gb: float | None, may_exit: bool, striker: _BySignal | _ByException
    ) -> None:
        super().__init__(name="limits", daemon=True)
        self._seconds, self._memory_gb, self._may_exit, self._striker = seconds, memory_gb, may_exit, striker
        self._began, self._stopping = time.monotonic(), threading.Event()

    def run(self) -> None:
        since, struck = math.inf, False
        while not self._stopping.wait(INTERVAL):
            reason = self._exceeded()
            if reason is None:
                continue
            since = min(since, time.monotonic())
            struck = struck or self._striker.strike(reason)
            if self._may_exit and time.monotonic() - since > GRACE:
                os._exit(70)

    def _exceeded(self) -> type[Stopped] | None:
        if self._seconds is not None and time.monotonic() - self._began > self._seconds:
            return OverTime
        if self._memory_gb is not None and resident_gb() > self._memory_gb:
            return OverMemory
        return None

    def stop(self) -> None:
        self._stopping.set()
        self.join()


class _BySignal:
    """Raises in the main thread, out of whatever it waits for."""

    def __init__(self) -> None:
        self.calm = threading.Lock()
        self.over = False
        self._reason: type[Stopped] | None = None
        self._before = signal.signal(signal.SIGUSR1, self._raise)

    def strike(self, reason: type[Stopped]) -> bool:
        """Ask for the exception; False: nothing was raised while `calm` was held, ask again."""
        self._reason = reason
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        time.sleep(0.01)
        return self._reason is None

    def _raise(self, number: int, frame: object) -> None:
        reason = self._reason
        if reason is not None and not self.over and not self.calm.locked():
            self._reason = None
            raise reason

    def end(self) -> None:
        signal.signal(signal.SIGUSR1, self._before)


class _ByException:
    """Raises in the thread that it was made in, once that is back in Python code."""

    def __init__(self) -> None:
        self.calm = threading.Lock()
        self.over = False
        self._thread = ctypes.c_ulong(threading.get_ident())

    def strike(self, reason: type[Stopped]) -> bool:
        """Raise it, unless the attempt is over."""
        with self.calm:
            if not self.over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, ctypes.py_object(reason))
        return True

    def end(self) -> None:
        """Take back what was raised but not delivered: too late for it."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, None)


def resident_gb() -> float:
    """Resident memory of this process in 10^9 bytes; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9


def most_held() -> int:
    """The most bytes of resident memory that this process has held so far; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
