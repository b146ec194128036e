"""A decay of the user's own."""

from __future__ import annotations

from atod_sweep.config.custom import function
from atod_sweep.errors import UserError
from atod_sweep.objective.shapes.linear import linear


def custom_decay(p: float, start: float, end: float, path: str, source: str) -> float:
    """From `start` to `end` by the share f(p) of the way that the user's function gives.

    Raises UserError unless the share is a number from 0 to 1.
    """
    share = function(path, source)(p)
    if not (isinstance(share, int | float) and 0.0 <= share <= 1.0):
        raise UserError(f"path: {path!r} gives {share!r} at progress {p:g}; a decay gives a share from 0 to 1")
    return linear(share, start, end)
