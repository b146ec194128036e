"""The same factor on every step."""

from __future__ import annotations

import math


def exponential(p: float, start: float, end: float) -> float:
    """`start` (`end` / `start`)^p for ends above 0, as a product of powers, so that both ends are exact.

    | p                 | 0   | 0.25     | 0.5      | 0.75     | 1   |
    |-------------------|-----|----------|----------|----------|-----|
    | start 1, end 0.1  | 1   | 0.562341 | 0.316228 | 0.177828 | 0.1 |

    >>> [round(exponential(p, start=1.0, end=0.1), 6) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [1.0, 0.562341, 0.316228, 0.177828, 0.1]
    """
    return math.pow(start, 1.0 - p) * math.pow(end, p)
