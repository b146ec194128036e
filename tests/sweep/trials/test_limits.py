"""Attempts that take too long or too much memory end by themselves, and the process goes on."""

from __future__ import annotations

import threading
import time

import pytest

from atod_sweep.sweep.trials import limits
from atod_sweep.sweep.trials.attempt import execute
from atod_sweep.sweep.trials.jobs import Bounds, Job
from atod_sweep.sweep.trials.limits import OverTime, limited, resident_gb

from fake_training import FAKE  # isort: skip


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(limits, "INTERVAL", 0.02)


def job(tmp_path, fault, **limit):
    config = {"steps": 4, "evaluation": {"every": 2}, "env": {"kwargs": {"fault": fault}}}
    return Job("a-s0", 1, config, str(tmp_path), ("eval/success",), FAKE, bounds=Bounds(**limit))


@pytest.mark.parametrize(
    ("fault", "limit", "status", "message"),
    [
        ("freeze", {"seconds": 0.1}, "timeout", "took longer than resources.seconds = 0.1"),
        ("hang", {"seconds": 0.1}, "timeout", "took longer than resources.seconds = 0.1"),
        ("hog", {"memory_gb": 0.2}, "out_of_memory", "held more than resources.memory_gb"),
    ],
)
def test_an_attempt_beyond_its_limits_is_a_recorded_failure(tmp_path, fault, limit, status, message):
    rows = []
    if "memory_gb" in limit:
        limit = {
            "memory_gb": limit["memory_gb"] + resident_gb()
        }  # what the tests hold already is no fault of the trial
    attempt = execute(job(tmp_path, fault, **limit), rows.extend)
    assert attempt.error.status == status
    assert message in attempt.error.message
    assert "fake_training" in attempt.error.traceback
    assert [row["step"] for row in rows] == [0]
    assert attempt.seconds < 60  # it would have slept for 120


def test_limits_that_are_kept_leave_no_trace(tmp_path):
    attempt = execute(job(tmp_path, "", seconds=60.0, memory_gb=100.0), lambda rows: None)
    assert attempt.error is None


def test_a_limit_passed_at_the_very_end_does_not_strike_later(monkeypatch):
    monkeypatch.setattr(limits, "INTERVAL", 0.0)
    late = 0
    for _ in range(20):
        try:
            with limited(0.0, None, may_exit=False):
                pass
        except OverTime:
            continue
        try:
            time.sleep(0.001)  # an exception left pending would be raised here
        except OverTime:
            late += 1
    assert late == 0


def test_a_limit_strikes_the_attempt_and_never_a_thread_that_it_is_starting():
    """A thread that is being started goes by the id of the one that starts it."""

    def attempt():
        with limited(0.0, None, may_exit=False):
            while True:
                thread = threading.Thread(target=int)
                thread.start()
                thread.join()

    for _ in range(5):
        with pytest.raises(OverTime):
            attempt()


def test_nothing_strikes_while_rows_are_handed_on():
    done = []

    def attempt():
        with limited(0.0, None, may_exit=False) as calm:
            with calm:
                for i in range(20):
                    time.sleep(0.01)
                    done.append(i)
            time.sleep(120)

    with pytest.raises(OverTime):
        attempt()
    assert len(done) == 20


def test_elsewhere_than_in_the_main_thread_limits_reach_python_code(tmp_path):
    attempts = []
    thread = threading.Thread(target=lambda: attempts.append(execute(job(tmp_path, "hang", seconds=0.1), list)))
    thread.start()
    thread.join()
    assert attempts[0].error.status == "timeout"
