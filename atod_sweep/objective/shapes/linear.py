"""A straight line."""

from __future__ import annotations


def linear(p: float, start: float, end: float) -> float:
    """`start` (1 - p) + `end` p.

    A weighted mean in place of the textbook `start + (end - start) p`, which can miss `end` by a rounding error.

    | p                 | 0   | 0.25  | 0.5  | 0.75  | 1   |
    |-------------------|-----|-------|------|-------|-----|
    | start 1, end 0.1  | 1   | 0.775 | 0.55 | 0.325 | 0.1 |

    >>> [round(linear(p, start=1.0, end=0.1), 6) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [1.0, 0.775, 0.55, 0.325, 0.1]
    """
    return start * (1.0 - p) + end * p
