"""Worker processes that import what their parent would, in the parent's order.

A new Python process looks for modules in the current folder first, and does so before it is told the parent's path: a
`random.py` that lies there would be imported in the place of the standard library's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

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
