"""The local backend with worker processes: the same results as in this process, dead workers, limits, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fake_training
import psutil
import pytest
import yaml
from fake_training import FAKE

from atod_sweep.records import ledger
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.searches.run_search import run_search
from atod_sweep.sweep.studies.run_study import run_study
from atod_sweep.sweep.trials import limits

DRIVER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from fake_training import FAKE
from no_mlflow import NoMlflow
from atod_sweep.sweep import session
from atod_sweep.sweep.record.progress import choose
from atod_sweep.sweep.studies.run_study import run_study
session.Mirror = session.Background = NoMlflow
study, out = Path(sys.argv[1]), Path(sys.argv[2])
outcome = run_study(study, out=out, trainer=FAKE, backend="local", concurrency=2, show=choose(json_output=True))
print(outcome.interrupted)
"""


OTHERS = (signal.SIGTERM, signal.SIGKILL)  # quick: a driver that is killed, below
pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def go(tmp_path):
    def go(path, out="runs", **options):
        options = {"concurrency": 2, "trainer": FAKE, **options}
        return run_study(path, out=tmp_path / out, backend="local", **options)

    return go


def last_rows(run_dir):
    return ledger.fold(ledger.read(run_dir)).trials


def trial_rows(run_dir, trial):
    return [row for row in ledger.read(run_dir) if row["event"] == "trial" and row["trial"] == trial]


def essence(run_dir):
    """What must not depend on how many run side by side."""
    keys = ("state", "attempt", "metrics", "start_metrics", "cost", "score", "config_hash", "error")
    rows = {trial: {key: row.get(key) for key in keys} for trial, row in last_rows(run_dir).items()}
    for trial, row in rows.items():
        if row["error"]:
            row["error"] = {key: row["error"][key] for key in ("status", "type", "message")}
        row["rows"] = [{**r, "pid": 0} for r in read_metrics(run_dir / "trials" / trial / "metrics.jsonl")]
    return rows


def pids(run_dir):
    files = run_dir.glob("trials/*/metrics.jsonl")
    return {int(row["pid"]) for file in files for row in read_metrics(file) if "pid" in row}


def gone(pid):
    """Ended, or a zombie that waits for its parent."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_two_workers_give_what_this_process_gives_and_leave_nothing_behind(write_study, go, capfd):
    arms = {name: {"env.kwargs": {"fault": name}} for name in ("bug", "diverge", "flaky", "fine")}
    path = write_study(arms=arms, controls=["teacher"], seeds=2)
    beside, alone = go(path, out="beside").run_dir, go(path, out="alone", concurrency=1).run_dir
    printed = capfd.readouterr()
    assert essence(beside) == essence(alone)
    assert printed.err == ""
    assert "2 at a time on" in printed.out
    assert pids(alone) == {os.getpid()}
    assert os.getpid() not in pids(beside)
    assert all(gone(pid) for pid in pids(beside))


def test_a_worker_that_dies_costs_one_attempt(write_study, go):
    path = write_study(arms={"die": {"env.kwargs": {"fault": "die"}}, "fine": {}}, seeds=2)
    outcome = go(path)
    assert (outcome.complete, outcome.failed) == (4, 0)
    rows = trial_rows(outcome.run_dir, "die-s0")
    assert [(r["attempt"], r["state"]) for r in rows] == [
        (1, "RUNNING"),
        (1, "FAILED"),
        (2, "RUNNING"),
        (2, "COMPLETE"),
    ]
    assert rows[1]["error"]["status"] == "worker_died"
    assert rows[1]["error"]["message"] == "the worker process ended with exit code 9"
    died, fine = (read_metrics(outcome.run_dir / f"trials/{arm}-s0/metrics.jsonl") for arm in ("die", "fine"))
    assert [r for r in died if r["phase"] == "eval"] == [r for r in fine if r["phase"] == "eval"]


def wait_for(condition):
    deadline = time.monotonic() + 250
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def meet(config, directory, report, resume=False):
    """The fake trainer, which waits until another trial has begun as well."""
    (Path(directory) / "here").touch()
    wait_for(lambda: len(list(Path(directory).parent.glob("*/here"))) == 2)
    return fake_training.train(config, directory, report, resume=resume)


@pytest.mark.slow  # quick: two that freeze, both in the middle of a step, below
def test_trials_run_side_by_side(write_study, go):
    outcome = go(write_study(seeds=1), trainer=replace(FAKE, train="test_local_workers:meet"))
    assert outcome.complete == 2
    assert len(pids(outcome.run_dir)) == 2


def impatient(config, directory, report, resume=False):
    """The fake trainer in a worker that gives its attempts half a second to end."""
    limits.GRACE = 0.5
    return fake_training.train(config, directory, report, resume=resume)


def test_limits_hold_in_workers_even_in_foreign_code(write_study, go):
    arms = {"hang": {"env.kwargs": {"fault": "hang"}}, "freeze": {"env.kwargs": {"fault": "freeze"}}}
    trainer = replace(FAKE, train="test_local_workers:impatient")
    outcome = go(write_study(arms=arms, seeds=1, resources={"seconds": 0.5}), max_retries=0, trainer=trainer)
    assert outcome.failed == 2
    for arm in ("hang", "freeze"):
        error = last_rows(outcome.run_dir)[f"{arm}-s0"]["error"]
        assert (error["status"], error["message"]) == ("timeout", "took longer than resources.seconds = 0.5")


def test_a_search_prunes_in_workers(tmp_path):
    search = {
        "base": {"steps": 40, "evaluation.every": 10},
        "parameters": {"optimiser.lr": {"float": [0.001, 0.02]}},
        "sampler": {"kind": "random", "seed": 3},
        "early_stopping": {"kind": "median", "peers": 2, "grace": 0.4},
        "budget": {"configurations": 6, "seeds": 2, "confirm": {"top": 1, "seeds": 2}},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(search, sort_keys=False))
    outcome = run_search(path, out=tmp_path, trainer=FAKE, backend="local", concurrency=2)
    assert outcome.pruned > 0
    assert outcome.complete + outcome.pruned == outcome.total
    for trial, row in last_rows(outcome.run_dir).items():
        steps = [r["step"] for r in read_metrics(outcome.run_dir / "trials" / trial / "metrics.jsonl")]
        assert (steps[-1] < 40) == (row["state"] == "PRUNED")


@pytest.mark.parametrize("how", [signal.SIGINT, *(pytest.param(s, marks=pytest.mark.slow) for s in OTHERS)])
def test_a_stopped_driver_leaves_a_run_that_resumes_and_no_process(write_study, tmp_path, how):
    path = write_study(base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.25}})
    runs, here = tmp_path / "runs", str(Path(__file__).parent)
    command = [sys.executable, "-c", DRIVER, str(path), str(runs), here]
    driver = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in driver.stdout:  # until a first trial is complete and others are under way
        if json.loads(line).get("state") == "COMPLETE":
            break
    time.sleep(0.4)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert len(children) >= 2
    if how == signal.SIGINT:
        os.killpg(driver.pid, how)  # as a terminal does
    else:
        driver.send_signal(how)
    rest, err = driver.communicate()
    assert err == ""
    wait_for(lambda: all(gone(child.pid) for child in children))
    rows = last_rows(runs / "small")
    finished = [trial for trial, row in rows.items() if row["state"] == "COMPLETE"]
    assert 1 <= len(finished) < 4
    if how != signal.SIGKILL:
        assert rest.splitlines()[-1] == "True"
        assert {row["error"]["status"] for row in rows.values() if row["error"]} == {"interrupted"}
        assert not [row for row in rows.values() if row["state"] == "RUNNING"]
    outcome = resume_run(runs / "small", trainer=FAKE, backend="local", concurrency=2)
    assert (outcome.complete, outcome.failed) == (4, 0)
    done = [row["trial"] for row in ledger.read(runs / "small") if row.get("state") == "COMPLETE"]
    assert sorted(done) == ["fast-s0", "fast-s1", "slow-s0", "slow-s1"]


def slay(config, directory, report, resume=False):
    """The fake trainer; the first attempt at `fast` sits still until `slow` kills its process."""
    victim = Path(directory).parent / "victim"
    if config.optimiser.lr == 0.02 and not resume:
        victim.with_suffix(".new").write_text(str(os.getpid()))
        victim.with_suffix(".new").rename(victim)
        time.sleep(60)
    if config.optimiser.lr == 0.01:
        wait_for(victim.is_file)
        os.kill(int(victim.read_text()), signal.SIGKILL)
    return fake_training.train(config, directory, report, resume=resume)


@pytest.mark.slow  # quick: a worker that dies by itself
def test_a_worker_killed_from_outside_is_replaced(write_study, go):
    outcome = go(write_study(seeds=1), trainer=replace(FAKE, train="test_local_workers:slay"))
    assert (outcome.complete, outcome.failed) == (2, 0)
    (lost,) = [row for row in ledger.read(outcome.run_dir) if row.get("state") == "FAILED"]
    assert (lost["trial"], lost["error"]["status"]) == ("fast-s0", "worker_died")
    assert lost["error"]["message"] == "the worker process was killed by signal 9"


def test_a_worker_in_the_middle_of_a_step_leaves_with_a_killed_driver(write_study, tmp_path):
    path = write_study(arms={"freeze": {"env.kwargs": {"fault": "freeze"}}}, seeds=2)
    command = [sys.executable, "-c", DRIVER, str(path), str(tmp_path), str(Path(__file__).parent)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "small" / "trials"
    wait_for(lambda: len(list(metrics.glob("*/metrics.jsonl"))) == 2)  # both have reported step 0 and sleep for minutes
    children = psutil.Process(driver.pid).children(recursive=True)
    assert len(children) >= 2
    driver.kill()
    driver.wait()
    wait_for(lambda: all(gone(child.pid) for child in children))
