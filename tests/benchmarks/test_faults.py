"""The list of faults: all are there, and (slow) all are survived."""

from __future__ import annotations

import pytest

from benchmarks.faults.causing import Outcome, cause, every, table
from benchmarks.faults.tools import Fault

FAULTS = every()


def test_the_list_is_long_and_names_each_fault_once():
    names = [f"{fault.kind}: {fault.name}" for fault in FAULTS]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
    assert len({fault.kind for fault in FAULTS}) >= 8
    assert sum(fault.kills for fault in FAULTS) >= 60


def test_a_fault_that_is_not_survived_is_said_to_be_so(tmp_path):
    def bad(place):
        raise AssertionError("results | differ")

    lost = cause(Fault("k", "n", "e", bad))
    assert (lost.survived, lost.observed) == (False, "AssertionError: results | differ")
    page = table([lost, Outcome(Fault("k", "m", "e", lambda place: "", kills=3), "fine", True, 0.1)])
    assert "results \\| differ | **not** |" in page
    assert "2 faults tried, 3 kills among them; 1 survived; not survived: n.\n" in page
    assert page[:-1] + " Not tried yet: k: x.\n" == table(
        [lost, Outcome(Fault("k", "m", "e", lambda place: "", kills=3), "fine", True, 0.1)], [Fault("k", "x", "e", bad)]
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}: {fault.name}")
def test_survived(fault):
    outcome = cause(fault)
    assert outcome.survived, outcome.observed
