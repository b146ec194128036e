"""Holds a teacher that is no good: the class of an actor, which its process imports."""

from __future__ import annotations

import os

from atod_sweep.training.failures import TeacherFailed


class Broken:
    """Fails as it is told to."""

    def score(self, how: str) -> None:
        if how == "die":
            os._exit(1)
        raise TeacherFailed("the teacher gives nan")
