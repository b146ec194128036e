"""MLflow mirrors the ledger: complete, without duplicates, and never in the way."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from fake_training import FAKE

from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.ledger import Ledger
from atod_sweep.sweep.mlflow.background import Background
from atod_sweep.sweep.mlflow.mirror import EXPERIMENT, default_uri, points, sync
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study


def test_points_are_evaluations_with_the_training_row_before_them():
    rows = [
        {"phase": "eval", "step": 0, "eval/success": 0.1},
        {"phase": "train", "step": 1, "loss": 3.0},
        {"phase": "train", "step": 2, "loss": 2.0, "turn_weight": [1.0, 0.5, None], "odd key!": 1},
        {"phase": "eval", "step": 2, "eval/success": 0.2},
        {"phase": "train", "step": 3, "loss": 1.0},
    ]
    assert list(points(rows)) == [
        (0, {"eval/success": 0.1}),
        (2, {"loss": 2.0, "eval/success": 0.2, "turn_weight/0": 1.0, "turn_weight/1": 0.5, "odd key_": 1.0}),
    ]


class Store:
    """A mirror whose store can be away."""

    def __init__(self):
        self.away, self.seen = False, []

    def trial(self, row):
        if self.away:
            raise ConnectionError("no route")
        self.seen.append((row["trial"], row["state"]))


def test_a_store_that_goes_away_delays_nothing_and_is_told_later(tmp_path, monkeypatch):
    monkeypatch.setattr("atod_sweep.sweep.mlflow.background.INTERVAL", 0.05)
    store = Store()
    store.away = True
    tracker = Background(store, tmp_path)
    began = time.monotonic()
    for state in ("RUNNING", "COMPLETE"):
        tracker.add({"trial": "a-s0", "state": state})
    assert time.monotonic() - began < 0.05
    time.sleep(0.2)
    assert tracker.problem == "no route"
    store.away = False
    assert tracker.close(10)
    assert store.seen == [("a-s0", "COMPLETE")]


def test_a_store_that_stays_away_is_admitted(tmp_path):
    store = Store()
    store.away = True
    tracker = Background(store, tmp_path)
    tracker.add({"trial": "a-s0", "state": "COMPLETE"})
    assert not tracker.close(10)
    assert tracker.problem == "no route"


def test_a_run_that_is_being_written_is_not_synced(tmp_path):
    with Ledger(tmp_path) as writer:
        writer.append({"event": "study"})
        with pytest.raises(UserError, match="another process is running this study"):
            sync(tmp_path, "sqlite:///nowhere.db")


def client(uri):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs_of(uri):
    store = client(uri)
    found = store.search_runs([store.get_experiment_by_name(EXPERIMENT).experiment_id], max_results=1000)
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["atod.trial"]: run for run in found if "mlflow.parentRunId" in run.data.tags}
    assert len(children) + len(parents) == len(found)  # no trial twice
    return store, parents, children


@pytest.mark.slow
def test_mlflow_holds_what_the_ledger_holds_also_after_a_retry_a_resume_and_a_lost_database(write_study, tmp_path):
    arms = {"fine": {}, "flaky": {"env.kwargs": {"fault": "flaky"}}, "bug": {"env.kwargs": {"fault": "bug"}}}
    runs = tmp_path / "runs"

    def report(folder):
        for name in ("report.html", "report.md", "figures/curves.svg", "tables/arms.csv"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("done")

    options = {"backend": "local", "trainer": FAKE, "after": report}
    folder = run_study(write_study(arms=arms), out=runs, **options).run_dir
    resume_run(folder, **options)  # runs the two failures again
    uri = default_uri(runs)

    def check(uri):
        store, (parent,), children = runs_of(uri)
        assert parent.info.status == "FINISHED"
        kept = {file.path for file in store.list_artifacts(parent.info.run_id)}
        assert kept >= {"study.yaml", "ledger.jsonl", "report.html", "report.md", "figures", "tables"}
        assert [file.path for file in store.list_artifacts(parent.info.run_id, "tables")] == ["tables/arms.csv"]
        assert {trial: (run.info.status, run.data.tags["attempt"]) for trial, run in children.items()} == {
            "fine-s0": ("FINISHED", "1"),
            "fine-s1": ("FINISHED", "1"),
            "flaky-s0": ("FINISHED", "2"),
            "flaky-s1": ("FINISHED", "2"),
            "bug-s0": ("FAILED", "2"),
            "bug-s1": ("FAILED", "2"),
        }
        run = children["flaky-s1"]
        assert run.data.tags["arm"] == "flaky"
        assert run.data.params["env.kwargs.fault"] == '"flaky"'
        assert run.data.metrics["cost/env_steps"] == 2560.0
        history = store.get_metric_history(run.info.run_id, "eval/success")
        assert [(m.step, m.value) for m in history] == [(s, 0.1 + 1e-2 * s + 0.001) for s in (0, 10, 20, 30, 40)]
        assert {file.path for file in store.list_artifacts(run.info.run_id)} == {"config.yaml", "metrics.jsonl"}
        assert children["bug-s0"].data.tags["error"].startswith("exception: ")

    check(uri)
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    for _ in range(2):  # from the files alone, and again without doubling anything
        assert sync(folder, elsewhere) == 6
        check(elsewhere)


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_an_error_before_anything_runs(write_study, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=r"--tracking-uri 'http://127.0.0.1:\d+': MLflow does not answer"):
            run_study(write_study(), out=tmp_path / "runs", backend="local", trainer=FAKE, tracking_uri=uri)
    assert not ledger.fold(ledger.read(tmp_path / "runs" / "small")).begun


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A real MLflow server with a database and an artifact folder of its own."""

    def __init__(self, folder):
        folder.mkdir()
        self.port, self.folder = free_port(), folder
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        log = (self.folder / "log.txt").open("a")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        for _ in range(300):
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"{self.uri}/health", timeout=1).status == 200:
                    return
            time.sleep(0.5)
        raise TimeoutError((self.folder / "log.txt").read_text())

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.mark.slow
def test_a_server_that_goes_away_delays_nothing_and_is_caught_up(write_study, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("atod_sweep.sweep.session.MLFLOW_PATIENCE", 5.0)
    path = write_study(base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.2}}, seeds=4)
    server = Server(tmp_path / "server")
    server.start()
    folder = tmp_path / "runs" / "small"
    stopped = []

    def stop_early():
        while not stopped:
            if folder.is_dir() and ledger.fold(ledger.read(folder)).count("COMPLETE") >= 2:
                server.stop()
                stopped.append(time.monotonic())
            time.sleep(0.05)

    thread = threading.Thread(target=stop_early)
    thread.start()
    try:
        outcome = run_study(path, out=tmp_path / "runs", backend="local", trainer=FAKE, tracking_uri=server.uri)
        assert outcome.complete == 8
        times = [row["seconds"] for row in ledger.fold(ledger.read(folder)).trials.values()]
        assert max(times) < 2 * min(times)  # the trials after the loss were no slower
        printed = capsys.readouterr().out
        assert f"catch up with: atod-sweep sync {folder}" in printed
        assert "View run" not in printed
    finally:
        thread.join()
    server.start()
    try:
        assert sync(folder, server.uri) == 8
        store, (parent,), children = runs_of(server.uri)
        assert parent.info.status == "FINISHED"
        assert {run.info.status for run in children.values()} == {"FINISHED"}
        assert len(children) == 8
        for run in children.values():
            assert len(store.get_metric_history(run.info.run_id, "eval/success")) == 5
            assert {file.path for file in store.list_artifacts(run.info.run_id)} == {"config.yaml", "metrics.jsonl"}
    finally:
        server.stop()
