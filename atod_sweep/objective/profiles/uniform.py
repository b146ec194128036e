"""Profiles that do not depend on the turn."""

from __future__ import annotations


def uniform(turn: int, horizon: float, value: float) -> float:
    """`value` on every turn.

    >>> [uniform(turn, horizon=3, value=0.8) for turn in range(3)]
    [0.8, 0.8, 0.8]
    """
    return value


def one(turn: int, horizon: float) -> float:
    """1 on every turn: all of the profile lies in the weights from log-probs that come on top.

    >>> one(2, horizon=3)
    1.0
    """
    return 1.0
