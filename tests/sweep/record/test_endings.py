"""The summary of what went wrong: by reason, with what was tried again, and nothing where nothing did."""

from __future__ import annotations

from atod_sweep.sweep.record.endings import lines


def row(trial, state, status="", message=""):
    error = {"status": status, "message": message} if status else None
    return {"event": "trial", "trial": trial, "state": state, "error": error}


def test_failures_are_grouped_by_reason_and_retries_are_told_apart():
    late = ("FAILED", "timeout", "took longer than resources.seconds = 5")
    rows = [
        {"event": "study"},
        row("a-s0", "RUNNING"),
        row("a-s0", "FAILED", "worker_died", "the worker\n process is gone"),
        row("a-s0", "RUNNING"),
        row("a-s0", "COMPLETE"),
        row("b-s0", "PRUNED"),
        row("e-s0", "FAILED", "diverged", "loss is nan at step 3"),
        *(row(f"c-s{i}", *late) for i in range(6)),
        row("d-s0", "RUNNING"),
    ]
    assert lines(rows) == [
        " trials    1 complete, 1 pruned, 7 failed, 1 running",
        " failed    timeout: took longer than resources.seconds = 5 (c-s0, c-s1, c-s2, c-s3 and 2 more)",
        " failed    diverged: loss is nan at step 3 (e-s0)",
        " again     worker_died: the worker process is gone (a-s0)",
    ]


def test_nothing_is_said_where_all_went_well():
    assert lines([{"event": "study"}, row("a-s0", "RUNNING"), row("a-s0", "COMPLETE")]) == []
