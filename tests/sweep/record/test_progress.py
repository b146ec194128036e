"""What the console says: counts, the leading arm with its interval, time left."""

from __future__ import annotations

import subprocess
import sys

import pytest

from atod_sweep.config.study import Resources
from atod_sweep.sweep.backends.ray import capacity
from atod_sweep.sweep.record.progress import Bar, Progress, choose
from atod_sweep.sweep.record.scoreboard import Scoreboard, clock


def row(trial, arm, score, state="COMPLETE", role="arm", seconds=10.0, levels=None):
    error = {"status": "exception", "type": "KeyError", "message": "[red]oops"} if state == "FAILED" else None
    return {
        "trial": trial,
        "arm": arm,
        "role": role,
        "levels": levels or {},
        "state": state,
        "score": score,
        "metrics": {"eval/success": score},
        "seconds": seconds,
        "error": error,
    }


def test_the_best_arm_is_the_best_mean_with_half_its_t_interval():
    board = Scoreboard(10, 2, "eval/success", {})
    assert board.best == ""
    for i, score in enumerate((0.60, 0.66, 0.72)):
        board.add(row(f"cosine-s{i}", "cosine", score))
    board.add(row("linear-s0", "linear", 0.65))
    board.add(row("rl-s0", "rl", 0.99, role="control"))
    # sd 0.06, t(2, 0.975) = 4.3027: 4.3027 * 0.06 / sqrt(3) = 0.149
    assert board.best == "cosine 0.66 ± 0.15"
    board.add(row("linear-s1", "linear", 0.9, levels={"horizon": "long"}))
    assert board.best == "linear long 0.90"
    costs = Scoreboard(10, 2, "eval/turns", {"a-s0": row("a-s0", "a", 7.0), "b-s0": row("b-s0", "b", 3.0)}, sign=-1)
    assert costs.best == "b 3.00"


@pytest.mark.parametrize(
    ("cpu", "gpu", "gpus", "fit"), [(1, 0, 0, 16), (1, 0.25, 1, 4), (8, 0.25, 1, 2), (1, 2, 5, 2), (1, 0.3, 2, 6)]
)
def test_as_many_trials_as_cores_and_gpus_hold(cpu, gpu, gpus, fit):
    assert capacity(Resources(cpu=cpu, gpu=gpu), 16, gpus) == fit


def test_counts_and_time_left_know_what_ran_before():
    before = {
        "a-s0": row("a-s0", "a", 0.5),
        "a-s1": row("a-s1", "a", None, "RUNNING"),
        "a-s2": row("a-s2", "a", None, "FAILED"),
    }
    board = Scoreboard(6, 2, "eval/success", before)
    assert (board.done, board.count("FAILED"), board.seconds_left) == (1, 0, None)
    board.add(row("a-s1", "a", None, "RUNNING"))
    assert board.done == 1
    board.add(row("a-s1", "a", 0.5, seconds=30.0))
    board.add(row("a-s2", "a", None, "FAILED", seconds=10.0))
    assert (board.done, board.count("FAILED")) == (3, 1)
    assert board.seconds_left == 1.5 * 20.0  # three trials left, two at a time


def test_models_that_are_only_evaluated_say_nothing_of_the_time_left():
    board = Scoreboard(12, 2, "eval/success", {})
    board.add(row("teacher-s0", "teacher", 0.6, role="teacher", seconds=12.0))
    board.add(row("base_student-s0", "base_student", 0.1, role="base", seconds=100.0))
    assert board.seconds_left is None
    board.add(row("opd-s0", "opd", 0.6, role="control", seconds=1200.0))
    assert board.seconds_left == 4.5 * 1200.0


def test_the_last_trial_runs_alone():
    board = Scoreboard(2, 2, "eval/success", {})
    board.add(row("a-s0", "a", 0.6, seconds=100.0))
    assert board.seconds_left == 100.0
    board.add(row("a-s1", "a", 0.6, seconds=100.0))
    assert board.seconds_left == 0.0


def test_a_display_may_ask_while_rows_come_in():
    """Each row that is looked at brings another one, as a driver would that is faster than its display."""
    board = Scoreboard(9, 1, "eval/success", {})

    class Busy(dict):
        def __getitem__(self, key):
            if len(board._rows) < 9:
                board._rows[f"more-{len(board._rows)}"] = row("more", "more", None, "RUNNING")
            return super().__getitem__(key)

    for i in range(3):
        board._rows[f"a-s{i}"] = Busy(row(f"a-s{i}", "a", 0.5))
    assert (board.done, board.best, board.share) == (3, "a 0.50 ± 0.00", 3.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (161, "2:41"), (3599.9, "1:00:00"), (3723, "1:02:03")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_the_bar_shows_failures_without_reading_them_as_markup(capsys):
    bar, board = Bar(), Scoreboard(2, 1, "eval/success", {})
    bar.begin(board)
    for ended in (row("a-s0", "a", None, "FAILED"), row("b-s0", "b", 0.5)):
        board.add(ended)
        bar.trial(ended)
    bar.end()
    bar.close()
    printed = capsys.readouterr().out
    assert "failed   a-s0  KeyError: [red]oops" in printed
    assert "2/2  1 failed  best: b 0.50" in printed


LOUD = """
import os, sys
from atod_sweep.sweep.record.progress import print_event, reserve_stdout
print("before", flush=True)
reserve_stdout(); reserve_stdout()
print("printed"); os.write(1, b"written"); os.system("echo said")
print_event({"event": "note", "text": "\u2026"})
"""


def test_what_user_code_prints_is_not_among_the_events():
    done = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout == 'before\n{"event": "note", "text": "\u2026"}\n'
    assert {"printed", "said"} <= set(done.stderr.replace("written", "").split())


def test_a_callback_hears_beside_a_display_of_ones_own():
    heard = []
    show = choose(callback=heard.append, show=Progress())
    show.note("so far, so good")
    assert heard == [{"event": "note", "text": "so far, so good"}]


UNREAD = """
import sys
from atod_sweep.sweep.record.progress import Plain, print_event, reserve_stdout
if sys.argv[1] == "json":
    reserve_stdout()
    say = lambda text: print_event({"text": text})
else:
    say = Plain().doing
say("first")
input()
for number in range(3):
    say(f"unread {number}")
print("the run is over", file=sys.stderr)
"""


@pytest.mark.parametrize("way", ["json", "plain"])
def test_a_run_goes_on_where_nobody_reads_any_more(way):
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", UNREAD, way], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as run:
        assert "first" in run.stdout.readline()
        run.stdout.close()  # what `| head -1` does
        run.stdin.write("\n")
        run.stdin.flush()
        assert (run.stderr.read(), run.wait()) == ("the run is over\n", 0)
