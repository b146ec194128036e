"""Ctrl-C and SIGTERM end a run, whatever a trial's code makes of them; nothing that this code raises by itself does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from atod_sweep.errors import UserError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_asked = threading.Event()
_held = threading.Event()


def asked() -> bool:
    """Whether this process was told to stop: only then is a KeyboardInterrupt the user's."""
    return _asked.is_set()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C and `kill PID` end a run alike: recorded and resumable. Signals that are ignored stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        _asked.set()
        if not _held.is_set():
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if not asked() or isinstance(error, UserError):  # a lost cluster interrupts, too, and says so in our words
            raise
        raise KeyboardInterrupt from None  # libraries make an error of their own of what a callback was told
    finally:
        for number in ours:
            signal.signal(number, before[number])
        _asked.clear()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """What must not be left half done, such as the start of a process: a signal takes effect at its end."""
    _held.set()
    try:
        yield
    finally:
        _held.clear()
    if asked():
        raise KeyboardInterrupt
