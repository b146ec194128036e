"""The same value all the time."""

from __future__ import annotations


def constant(p: float, start: float) -> float:
    """`start`, whatever the progress p.

    >>> [constant(p, start=0.3) for p in (0.0, 0.5, 1.0)]
    [0.3, 0.3, 0.3]
    """
    return start
