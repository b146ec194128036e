"""Attempts that take too long or too much memory end by themselves, and the process goes on."""

from __future__ import annotations

import time

import pytest

from atod_sweep.sweep import limits
from atod_sweep.sweep.jobs import Job
from atod_sweep.sweep.limits import OverTime, limited, resident_gb
from atod_sweep.sweep.trainable import execute

from fake_training import FAKE  # isort: skip


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(limits, "INTERVAL", 0.02)


def job(tmp_path, fault, **limit):
    config = {"steps": 4, "evaluation": {"every": 2}, "env": {"kwargs": {"fault": fault}}}
    return Job("a-s0", 1, config, str(tmp_path), "eval/success", FAKE, **limit)


@pytest.mark.parametrize(
    ("fault", "limit", "status", "message"),
    [
        ("hang", {"seconds": 0.1}, "timeout", "took longer than resources.seconds = 0.1"),
        ("hog", {"memory_gb": 0.4}, "out_of_memory", "held more than resources.memory_gb"),
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
    assert attempt.seconds < 5


def test_limits_that_are_kept_leave_no_trace(tmp_path):
    attempt = execute(job(tmp_path, "", seconds=60.0, memory_gb=100.0), lambda rows: None)
    assert attempt.error is None


def test_a_limit_passed_at_the_very_end_does_not_strike_later(monkeypatch):
    monkeypatch.setattr(limits, "INTERVAL", 0.0)
    for _ in range(50):
        try:
            with limited(0.0, None, may_exit=False):
                pass
        except OverTime:
            continue
        time.sleep(0.001)  # an exception left pending would be raised here
