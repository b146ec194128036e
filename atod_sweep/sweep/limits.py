"""Wall-clock and memory limits of one attempt, watched from a thread of its own process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

INTERVAL = 0.5  # seconds between looks
GRACE = 15.0  # seconds that an attempt gets to end by itself


class OverTime(Exception):
    """The attempt took longer than it may."""

    status = "timeout"


class OverMemory(Exception):
    """The attempt's process holds more memory than it may."""

    status = "out_of_memory"


@contextlib.contextmanager
def limited(
    seconds: float | None, memory_gb: float | None, may_exit: bool
) -> Iterator[contextlib.AbstractContextManager[object]]:
    """Raise OverTime or OverMemory inside the block once a limit is passed (None: no limit).

    The exception reaches Python code only; with `may_exit`, a process that sits in foreign code for GRACE more seconds
    is ended outright. Yields a context in which no limit strikes: what must not be cut in half runs in it.
    """
    if seconds is None and memory_gb is None:
        yield contextlib.nullcontext()
        return
    watch = _Watch(seconds, memory_gb, may_exit)
    thread = threading.Thread(target=watch.run, name="limits", daemon=True)
    thread.start()
    try:
        yield watch.calm
    finally:
        watch.stop()


class _Watch:
    def __init__(self, seconds: float | None, memory_gb: float | None, may_exit: bool) -> None:
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._seconds, self._memory_gb, self._may_exit = seconds, memory_gb, may_exit
        self._started = time.monotonic()
        self.calm, self._stopped = threading.Lock(), threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            reason = self._exceeded()
            if reason is None:
                continue
            with self.calm:
                if not self._stopped.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, ctypes.py_object(reason))
            if not self._stopped.wait(GRACE) and self._may_exit:
                os._exit(70)
            return

    def _exceeded(self) -> type[Exception] | None:
        if self._seconds is not None and time.monotonic() - self._started > self._seconds:
            return OverTime
        if self._memory_gb is not None and resident_gb() > self._memory_gb:
            return OverMemory
        return None

    def stop(self) -> None:
        with self.calm:
            self._stopped.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, None)  # raised but not delivered: too late for it


def resident_gb() -> float:
    """Resident memory of this process in 10^9 bytes; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
