"""Seconds of turns, of tasks played one at a time."""

from __future__ import annotations

from pathlib import Path

from small import tiny

from atod_sweep.training.loop.latency import turn_seconds


def test_every_turn_is_timed_but_those_of_the_first_task(built):
    laps = {role: turn_seconds(tiny(), Path(getattr(built, role).path), role, 3) for role in ("teacher", "student")}
    for seconds in laps.values():
        assert 3 <= len(seconds) <= 9  # three tasks of one to three turns
        assert all(second > 0 for second in seconds)
