"""A profile of the user's own."""

from __future__ import annotations

from atod_sweep.config.custom import function
from atod_sweep.errors import UserError


def custom_turns(turn: int, horizon: float, path: str, source: str, weighs: str) -> float:
    """f(turn, horizon) by the user's function, on the last turn's value beyond it; 1 where that function weighs tokens.

    Raises UserError unless the weight is a number from 0 to 1.
    """
    if weighs == "tokens":
        return 1.0
    weight = function(path, source)(min(turn, horizon - 1), horizon)
    if not (isinstance(weight, int | float) and 0.0 <= weight <= 1.0):
        raise UserError(f"path: {path!r} gives {weight!r} on turn {turn} of {horizon}; a profile is from 0 to 1")
    return weight
