"""How much of a machine's memory, or of a GPU's, trials of this process may take: others run beside them."""

from __future__ import annotations

_mine = 1.0


def take(share: float) -> None:
    """From now on, this share (above 0, at most 1)."""
    global _mine
    _mine = share


def mine() -> float:
    """The share, 1 unless one was taken."""
    return _mine
