"""Studies run by Ray Tune: the same results as in-process, dead workers, signals, a clean console."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from fake_training import FAKE

from atod_sweep.records import ledger
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.searches.run_search import run_search
from atod_sweep.sweep.studies.run_study import run_study

pytestmark = pytest.mark.slow

DRIVER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from fake_training import FAKE
from atod_sweep.sweep.record.progress import choose
from atod_sweep.sweep.studies.run_study import run_study
outcome = run_study(Path(sys.argv[1]), out=Path(sys.argv[2]), trainer=FAKE, show=choose(json_output=True))
print(outcome.interrupted)
"""


def last_rows(run_dir):
    return ledger.fold(ledger.read(run_dir)).trials


def essence(run_dir):
    """What must not depend on the backend."""
    keys = ("state", "metrics", "start_metrics", "cost", "score", "config_hash")
    rows = {trial: {key: row.get(key) for key in keys} for trial, row in last_rows(run_dir).items()}
    for trial, row in rows.items():
        row["rows"] = [{**r, "pid": 0} for r in read_metrics(run_dir / "trials" / trial / "metrics.jsonl")]
    return rows


def test_ray_gives_what_the_local_backend_gives_and_outlives_dead_workers(write_study, tmp_path, capfd):
    arms = {
        "fine": {},
        "die": {"env.kwargs": {"fault": "die"}},
        "bug": {"env.kwargs": {"fault": "bug"}},
        "diverge": {"env.kwargs": {"fault": "diverge"}},
        "exit": {"env.kwargs": {"fault": "exit"}},
        "interrupt": {"env.kwargs": {"fault": "interrupt"}},
    }
    path = write_study(arms=arms, controls=["teacher"], seeds=1)
    on_ray = run_study(path, out=tmp_path / "ray", trainer=FAKE)
    printed = capfd.readouterr()
    assert (on_ray.complete, on_ray.failed) == (3, 4)
    lines = printed.out.splitlines()
    ours = ("small", "memory: ", "time: ", "teacher", "MLflow")  # and what is being done; nothing is Ray's
    assert [line for line in lines if not (line.startswith(ours) or "/7 " in line or "…" in line)] == []
    assert printed.err == ""
    rows = [row for row in ledger.read(on_ray.run_dir) if row["event"] == "trial" and row["trial"] == "die-s0"]
    assert [(row["attempt"], row["state"]) for row in rows] == [
        (1, "RUNNING"),
        (1, "FAILED"),
        (2, "RUNNING"),
        (2, "COMPLETE"),
    ]
    assert rows[1]["error"]["status"] == "worker_died"
    assert last_rows(on_ray.run_dir)["bug-s0"]["error"]["type"] == "KeyError"
    assert not (on_ray.run_dir / "ray").exists()

    arms["die"] = {"env.kwargs": {"fault": "flaky"}}  # what an in-process run can survive
    here = run_study(
        write_study(arms=arms, controls=["teacher"], seeds=1), out=tmp_path / "local", trainer=FAKE, backend="local"
    )
    ours, theirs = essence(here.run_dir), essence(on_ray.run_dir)
    for row in (*ours.values(), *theirs.values()):
        del row["config_hash"]
    assert ours == theirs


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_driver_leaves_a_run_that_resumes(write_study, tmp_path, how):
    path = write_study(base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 1.5}})
    runs, here = tmp_path / "runs", str(Path(__file__).parent)
    command = [sys.executable, "-c", DRIVER, str(path), str(runs), here]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    for line in driver.stdout:  # until a first trial is complete and others are under way
        if json.loads(line).get("state") == "COMPLETE":
            break
    time.sleep(2.0)
    driver.send_signal(how)
    rest = driver.stdout.read()
    driver.wait()
    finished = [row["trial"] for row in last_rows(runs / "small").values() if row["state"] == "COMPLETE"]
    assert 1 <= len(finished) < 4
    if how != signal.SIGKILL:
        assert rest.splitlines()[-1] == "True"
        assert not [row for row in last_rows(runs / "small").values() if row["state"] == "RUNNING"]
    outcome = resume_run(runs / "small", trainer=FAKE)
    assert (outcome.complete, outcome.failed) == (4, 0)
    done = [row["trial"] for row in ledger.read(runs / "small") if row.get("state") == "COMPLETE"]
    assert sorted(done) == ["fast-s0", "fast-s1", "slow-s0", "slow-s1"]


def test_a_search_one_at_a_time_is_the_same_on_ray_with_early_stopping_and_tpe(tmp_path):
    search = {
        "base": {"steps": 40, "evaluation.every": 10},
        "parameters": {"optimiser.lr": {"float": [0.001, 0.02]}},
        "sampler": {"kind": "tpe", "startup": 3},
        "early_stopping": {"kind": "median", "peers": 2, "grace": 0.4},
        "budget": {"configurations": 8, "seeds": 2, "confirm": {"top": 1, "seeds": 2}},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(search, sort_keys=False))
    on_ray = run_search(path, out=tmp_path / "ray", trainer=FAKE, concurrency=1).run_dir
    here = run_search(path, out=tmp_path / "local", trainer=FAKE, backend="local").run_dir
    assert {row["state"] for row in last_rows(here).values()} == {"COMPLETE", "PRUNED"}
    assert essence(on_ray) == essence(here)
    learned = [[r["values"] for r in ledger.read(folder) if r["event"] == "told"] for folder in (on_ray, here)]
    assert learned[0] == learned[1]
