"""High on the early turns, low on the late ones (or the other way round), a decay between them."""

from __future__ import annotations

from atod_sweep.config.turns import bounds
from atod_sweep.objective.shapes import value


def thresholds(
    turn: int,
    horizon: float,
    early: float,
    late: float,
    early_turns: float | None,
    early_fraction: float,
    late_turns: float | None,
    late_fraction: float,
    shape: str,
) -> float:
    """`early` on the first turns, then a decay of kind `shape`, then `late`.

    The decay runs from the last early turn (end of the early part minus 1) to the first late turn: with 10 turns, 2
    early and 2 late ones, turns 0, 1 are early, 8, 9 late, and 2 .. 7 lie strictly between. Shape `step` stays early
    up to the first late turn.

    | turn   | 0   | 1   | 2     | 3     | 4     | 5     | 6     | 7     | 8   | 9   |
    |--------|-----|-----|-------|-------|-------|-------|-------|-------|-----|-----|
    | linear | 0.9 | 0.9 | 0.786 | 0.671 | 0.557 | 0.443 | 0.329 | 0.214 | 0.1 | 0.1 |
    | step   | 0.9 | 0.9 | 0.9   | 0.9   | 0.9   | 0.9   | 0.9   | 0.9   | 0.1 | 0.1 |

    >>> ends = {"early": 0.9, "late": 0.1, "early_turns": 2, "late_turns": 2, "early_fraction": 0, "late_fraction": 1}
    >>> [round(thresholds(turn, 10, shape="linear", **ends), 3) for turn in range(10)]
    [0.9, 0.9, 0.786, 0.671, 0.557, 0.443, 0.329, 0.214, 0.1, 0.1]
    >>> [thresholds(turn, 10, shape="step", **ends) for turn in (0, 1, 2, 7, 8, 9)]
    [0.9, 0.9, 0.9, 0.9, 0.1, 0.1]
    """
    early_end, late_start = bounds(horizon, early_turns, early_fraction, late_turns, late_fraction)
    if shape == "step":
        return early if turn < late_start else late
    last_early = early_end - 1.0
    share = min(max((turn - last_early) / (late_start - last_early), 0.0), 1.0)
    return value(shape, share, start=early, end=late)
