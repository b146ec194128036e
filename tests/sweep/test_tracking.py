"""MLflow mirrors the ledger: complete, without duplicates, and never in the way."""

from __future__ import annotations

import socket
import time

import pytest
from fake_training import FAKE

from atod_sweep.errors import UserError
from atod_sweep.sweep import ledger
from atod_sweep.sweep.background import Background
from atod_sweep.sweep.run import resume_run, run_study
from atod_sweep.sweep.tracking import EXPERIMENT, default_uri, points, sync


def test_points_are_evaluations_with_the_training_row_before_them():
    rows = [
        {"phase": "eval", "step": 0, "eval/success": 0.1},
        {"phase": "train", "step": 1, "loss": 3.0},
        {"phase": "train", "step": 2, "loss": 2.0, "turn_weight": [1.0, 0.5], "odd key!": 1},
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
    monkeypatch.setattr("atod_sweep.sweep.background.INTERVAL", 0.05)
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
        (folder / "report.html").write_text("<p>done</p>")

    options = {"backend": "local", "trainer": FAKE, "after": report}
    folder = run_study(write_study(arms=arms), out=runs, **options).run_dir
    resume_run(folder, **options)  # runs the two failures again
    uri = default_uri(runs)

    def check(uri):
        store, (parent,), children = runs_of(uri)
        assert parent.info.status == "FINISHED"
        assert {file.path for file in store.list_artifacts(parent.info.run_id)} >= {"study.yaml", "report.html"}
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
    assert ledger.read(tmp_path / "runs" / "small") == []
