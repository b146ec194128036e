"""Straight lines through given points."""

from __future__ import annotations

from atod_sweep.objective.shapes.linear import linear


def piecewise(p: float, boundaries: list[float], values: list[float]) -> float:
    """Lines through (0, `values[0]`) and every (`boundaries[i]`, `values[i + 1]`); constant after the last boundary.

    | p                                     | 0   | 0.125 | 0.25 | 0.5  | 0.75 | 1   |
    |---------------------------------------|-----|-------|------|------|------|-----|
    | boundaries 0.25, 0.75; values 1, ½, 0 | 1   | 0.75  | 0.5  | 0.25 | 0    | 0   |

    >>> [piecewise(p, boundaries=[0.25, 0.75], values=[1.0, 0.5, 0.0]) for p in (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    left = 0.0
    for i, right in enumerate(boundaries):
        if p < right:
            return linear((p - left) / (right - left), values[i], values[i + 1])
        left = right
    return values[-1]
