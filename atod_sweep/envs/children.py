"""Worker processes that import what their parent would, in the parent's order.

A new Python process looks for modules in the current folder first, and does so before it is told the parent's path: a
`random.py` that lies there would be imported in the place of the standard library's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

_SAFE = "PYTHONSAFEPATH"  # Python's own switch; any text turns it on
_OURS = "atod-sweep"


@contextlib.contextmanager
def started_safely() -> Iterator[None]:
    """Python processes that are started inside leave the current folder out; the child calls `settle`."""
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = before or _OURS
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before


def settle() -> None:
    """In the child: what an environment starts of its own is none of our business."""
    if os.environ.get(_SAFE) == _OURS:
        del os.environ[_SAFE]


# ---- that answer in lines --------------------------------------------------------------------------------------------


def started(module: str, stderr: IO[bytes] | None = None) -> subprocess.Popen[str]:
    """`main()` of a module in a process and session of its own, which is asked and answers through its pipes."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {module} import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path, "PYTHONBREAKPOINT": "0"},
        start_new_session=True,
    )


def end(process: subprocess.Popen[Any]) -> None:
    """Kill it, and whatever the environments in it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Mouth:
    """In the child: what its parent reads, a line of JSON at a time. What environments print goes to stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def tell(self, **message: object) -> None:
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()
