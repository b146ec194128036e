"""Searches and studies on Ray, with processes and nodes killed under them: nothing is lost, nothing counts twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from fake_training import FAKE

from atod_sweep.records import ledger
from atod_sweep.sweep.backends import ray as runner
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.searches.run_search import run_search
from atod_sweep.sweep.studies.run_study import run_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DRIVER = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from fake_training import FAKE
from atod_sweep.sweep.record.progress import choose
from atod_sweep.sweep.searches.run_search import run_search
outcome = run_search(Path(sys.argv[1]), out=Path(sys.argv[2]), trainer=FAKE, show=choose(json_output=True), resume=True)
sys.exit(0 if outcome.ok else 1)
"""


def history(run_dir):
    return ledger.fold(ledger.read(run_dir))


def results(run_dir):
    """(configuration, seed, phase) -> state and metrics."""
    rows = history(run_dir).trials.values()
    return {(r["configuration"], r["seed"], r["phase"]): (r["state"], r["metrics"], r["score"]) for r in rows}


def trial_rows(run_dir):
    return [row for row in ledger.read(run_dir) if row["event"] == "trial"]


def in_optuna(run_dir):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run_dir / "optuna.journal")))
    trials = optuna.load_study(study_name=run_dir.name, storage=storage).get_trials()
    return [(t.user_attrs["configuration"], t.state.name, t.values) for t in trials]


def in_mlflow(runs, name):
    """Trial -> (configuration, seed, status, final success) of the children of one parent run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("atod-sweep").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`mlflow.runName` = '{name}'")
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", max_results=1000)
    table = {
        r.data.tags["atod.trial"]: (
            r.data.tags["configuration"],
            int(r.data.tags["seed"]),
            r.info.status,
            r.data.metrics["eval/success"],
        )
        for r in found
    }
    assert len(table) == len(found)  # no trial twice
    return table


@pytest.fixture
def search_file(tmp_path):
    search = {
        "base": {"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.3}},
        "parameters": {"optimiser.lr": {"float": [0.001, 0.02]}},
        "sampler": {"kind": "random", "seed": 3},
        "budget": {"configurations": 6, "seeds": 2, "confirm": {"top": 2, "seeds": 3}},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(search, sort_keys=False))
    return path


def test_five_killed_drivers_leave_what_an_undisturbed_run_leaves(search_file, tmp_path):
    runs = tmp_path / "runs"
    whole = run_search(search_file, out=runs, name="whole", backend="local", trainer=FAKE)
    rng = random.Random(7)
    total = whole.total
    moments = sorted(rng.sample(range(1, 2 * total), 5))  # ledger rows of trials after which the driver dies
    command = [sys.executable, "-c", DRIVER, str(search_file), str(runs), str(Path(__file__).parent)]
    for moment in moments:
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        for line in driver.stdout:
            rows = [row for row in ledger.read(runs / "tiny") if row["event"] == "trial"]
            if json.loads(line)["event"] == "trial" and len(rows) >= moment:
                break
        time.sleep(rng.uniform(0.0, 1.0))
        driver.kill()
        driver.wait()
    assert 0 < len([r for r in history(runs / "tiny").trials.values() if r["state"] == "COMPLETE"]) < total
    outcome = resume_run(runs / "tiny", trainer=FAKE)
    assert outcome.ok
    assert results(runs / "tiny") == results(runs / "whole")
    complete = [r["trial"] for r in ledger.read(runs / "tiny") if r["event"] == "trial" and r["state"] == "COMPLETE"]
    assert len(complete) == total  # none ran twice
    assert sorted(in_optuna(runs / "tiny")) == sorted(in_optuna(runs / "whole"))
    mirrored = in_mlflow(runs, "tiny")
    assert mirrored == in_mlflow(runs, "whole")
    assert {status for _, _, status, _ in mirrored.values()} == {"FINISHED"}


def when(run_dir, condition, action):
    """Call `action` once the ledger's trials meet `condition`."""

    def watch():
        while not (run_dir.is_dir() and condition(history(run_dir))):
            time.sleep(0.2)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def some_complete(found):
    return found.count("COMPLETE") >= 2 and found.count("RUNNING") >= 1


@pytest.fixture
def study_file(write_study):
    return write_study(base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.7}}, seeds=4)


def test_a_killed_worker_costs_one_attempt(study_file, tmp_path):
    def kill_worker():
        workers = [p for p in psutil.process_iter(["cmdline"]) if "ImplicitFunc" in " ".join(p.info["cmdline"] or [])]
        mine = [p for p in workers if os.getpid() in {a.pid for a in p.parents()}]
        mine[0].send_signal(signal.SIGKILL)

    runs = tmp_path / "runs"
    when(runs / "small", some_complete, kill_worker)
    outcome = run_study(study_file, out=runs, trainer=FAKE)
    assert (outcome.complete, outcome.failed) == (8, 0)
    deaths = [row for row in ledger.read(runs / "small") if row.get("state") == "FAILED"]
    assert [row["error"]["status"] for row in deaths] == ["worker_died"]


def test_a_killed_ray_head_ends_the_run_and_resume_finishes_it(study_file, tmp_path):
    code = DRIVER.replace("searches.run_search", "studies.run_study").replace("run_search", "run_study")
    runs = tmp_path / "runs"
    command = [sys.executable, "-c", code, str(study_file), str(runs), str(Path(__file__).parent)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_head():
        for process in psutil.Process(driver.pid).children(recursive=True):
            if process.name() in ("gcs_server", "raylet"):
                process.kill()

    when(runs / "small", some_complete, kill_head).join(300)
    driver.wait(300)
    assert driver.returncode != 0
    assert history(runs / "small").count("COMPLETE") < 8
    outcome = resume_run(runs / "small", trainer=FAKE)
    assert (outcome.complete, outcome.failed) == (8, 0)
    complete = [row["trial"] for row in ledger.read(runs / "small") if row.get("state") == "COMPLETE"]
    assert len(complete) == len(set(complete)) == 8


def test_a_search_outlives_a_node_of_its_cluster(search_file, tmp_path, monkeypatch):
    """Two nodes, one of them killed: every (configuration, seed) still ends once, as without a cluster.

    The nodes of a test share this machine's disk, so the model is taken away once it is packed: it can only come back
    by being shipped.
    """
    from ray.cluster_utils import Cluster

    model = tmp_path / "models" / "student"
    model.mkdir(parents=True)
    (model / "recipe.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("FAKE_STUDENT", str(model))
    trainer = replace(FAKE, ensure="fake_training:ensure_student")
    whole = run_search(search_file, out=tmp_path / "runs", name="whole", backend="local", trainer=trainer)
    packed = runner.pack_models

    def pack_and_remove(paths):
        cargo = packed(paths)
        shutil.rmtree(model)
        return cargo

    monkeypatch.setattr(runner, "pack_models", pack_and_remove)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    runs = tmp_path / "runs"
    try:
        when(runs / "tiny", some_complete, lambda: cluster.remove_node(other, allow_graceful=False))
        outcome = run_search(search_file, out=runs, trainer=trainer, address=cluster.address, max_retries=2)
    finally:
        cluster.shutdown()
    assert (outcome.failed, outcome.ok) == (0, True)
    assert results(runs / "tiny") == results(whole.run_dir)
    ended = [(r["configuration"], r["seed"], r["phase"], r["state"]) for r in trial_rows(runs / "tiny")]
    complete = [key for key in ended if key[-1] == "COMPLETE"]
    assert len(complete) == len(set(complete)) == whole.total
    deaths = [row for row in trial_rows(runs / "tiny") if row["state"] == "FAILED"]
    assert [row["error"]["status"] for row in deaths] == ["worker_died"]
    assert (model / "model.safetensors").read_bytes() == b"weights"
    assert [p.name for p in model.parent.iterdir() if not p.name.endswith(".lock")] == ["student"]
