"""Ctrl-C and SIGTERM end a run, whatever a trial's code makes of them; nothing that this code raises by itself does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_asked = threading.Event()


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
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
        _asked.clear()
