"""A staircase."""

from __future__ import annotations


def step(p: float, boundaries: list[float], values: list[float]) -> float:
    """`values[i]` from boundary i - 1 (inclusive) to boundary i (exclusive).

    >>> [step(p, boundaries=[0.25, 0.75], values=[1.0, 0.5, 0.1]) for p in (0.0, 0.2499, 0.25, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.1, 0.1]
    """
    return values[sum(p >= boundary for boundary in boundaries)]
