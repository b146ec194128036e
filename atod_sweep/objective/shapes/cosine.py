"""Half a wave of a cosine: slow at both ends, fast in the middle."""

from __future__ import annotations

import math


def cosine(p: float, start: float, end: float) -> float:
    """`end` + (`start` - `end`) (1 + cos(pi p)) / 2, as a weighted mean of the ends, so that both are exact.

    Above the straight line in the first half and as far below it in the second: the same mean over the window.

    | p                 | 0   | 0.25     | 0.5  | 0.75     | 1   |
    |-------------------|-----|----------|------|----------|-----|
    | start 1, end 0.1  | 1   | 0.868198 | 0.55 | 0.231802 | 0.1 |

    >>> [round(cosine(p, start=1.0, end=0.1), 6) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [1.0, 0.868198, 0.55, 0.231802, 0.1]
    """
    left = (1.0 + math.cos(math.pi * p)) / 2.0
    return start * left + end * (1.0 - left)
