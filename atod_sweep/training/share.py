"""What trials of this process share with those beside them: a machine's memory, or a GPU's, and perhaps a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atod_sweep.training.teachers.shared import Holder

_mine = 1.0
_teacher: Holder | None = None


def take(share: float, teacher: Holder | None = None) -> None:
    """From now on, this share of the memory (above 0, at most 1), and this teacher in the place of their own."""
    global _mine, _teacher
    _mine, _teacher = share, teacher


def teacher() -> Holder | None:
    """Who holds the teacher for this process's trials; None: each loads its own."""
    return _teacher


def mine() -> float:
    """The share, 1 unless one was taken."""
    return _mine
