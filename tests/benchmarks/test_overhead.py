"""The overhead of a recorded run, by hand."""

from __future__ import annotations

import pytest
from ledger_files import study_row, trial_row, write_ledger

from benchmarks.overhead import recorded


def test_overhead_is_what_is_left_of_the_time_of_all_places(tmp_path):
    def row(trial, state, time, **more):
        return trial_row(trial, 0, state, time=time, **more)

    rows = [
        study_row(),
        row("a", "RUNNING", 0.0),
        row("b", "RUNNING", 0.0),
        row("a", "COMPLETE", 10.0, seconds=9.5, cost={"seconds": 8.0}),
        row("c", "RUNNING", 10.0),
        row("b", "COMPLETE", 12.0, seconds=11.5, cost={"seconds": 10.0}),
        row("d", "RUNNING", 12.0),
        row("c", "COMPLETE", 20.0, seconds=9.5, cost={"seconds": 9.0}),
    ]
    write_ledger(tmp_path, rows)
    found = recorded(tmp_path)
    assert (found.trials, found.at_a_time) == (3, 2)
    assert found.training == pytest.approx(9.0)
    assert found.inside == pytest.approx(3.5 / 3)
    assert found.between == pytest.approx(0.5)
    # two places for 20 s; 27 s of training, and d is under way for the last 8 s
    assert found.outside == pytest.approx(1 - 35 / 40)
