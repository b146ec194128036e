"""Whether the head of a Ray cluster is there still: Ray would end this process, a minute later, without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from atod_sweep.errors import UserError
from atod_sweep.records.redaction import redacted

_LOST = 40.0  # seconds of silence after which the head is gone; Ray gives one that is started again 60
_DEAF = 12.0  # seconds that the main thread gets to end the run
_LOOK = 1.0  # seconds for which it counts as heard, twice; half of it between knocks


@contextlib.contextmanager
def watched(address: str | None, remedy: str) -> Iterator[Callable[[], bool]]:
    """UserError, with the remedy, if the cluster's head goes away inside: Ray itself would end this process, a minute
    later and without a word.

    Yields a function that says whether the head was heard just now: while it is not, whoever asks Ray for something
    may wait for ever. Needs `interrupts.stoppable` around it.
    """
    import ray

    where = "on this machine" if address is None else f"at {redacted(address)}"
    words = f"the Ray cluster {where} is gone: its head process answers no more; {remedy}"
    watch = _Watch(ray.get_runtime_context().gcs_address, words)
    watch.start()
    try:
        yield watch.is_heard
    except (KeyboardInterrupt, Exception) as error:
        if watch.lost or (isinstance(error, Exception) and not isinstance(error, UserError) and not watch.answers()):
            raise UserError(words) from error
        raise
    finally:
        watch.over.set()


class _Watch(threading.Thread):
    """Knocks at the head's port, and interrupts the main thread once it has been silent for long.

    A main thread that waits for Ray in vain does not hear that: then the words are said here, and this is the end.
    """

    def __init__(self, head: str, words: str) -> None:
        super().__init__(name="ray-head", daemon=True)
        self._words, self._heard = words, time.monotonic()
        host, _, port = head.rpartition(":")
        self._head = host.strip("[]"), int(port)
        self.lost, self.over = False, threading.Event()

    def answers(self) -> bool:
        try:
            socket.create_connection(self._head, timeout=5).close()
        except OSError:
            return False
        return True

    def is_heard(self) -> bool:
        """Whether it answered when it was last asked."""
        return time.monotonic() - self._heard < 2 * _LOOK

    def run(self) -> None:
        while not self.over.wait(_LOOK / 2):
            if self.answers():
                self._heard = time.monotonic()
            elif time.monotonic() - self._heard > _LOST and not self.over.is_set():
                break
        else:
            return
        self.lost = True
        if callable(signal.getsignal(signal.SIGTERM)):  # `stoppable` has it: it raises, out of any sleep
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        if not self.over.wait(_DEAF):
            sys.stderr.write(f"{self._words}\n")
            sys.stderr.flush()
            os._exit(1)
