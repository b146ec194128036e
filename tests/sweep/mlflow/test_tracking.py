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
from ledger_files import study_row, trial_row

from atod_sweep.api import sync
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.ledger import Ledger
from atod_sweep.sweep.loggers.background import Background
from atod_sweep.sweep.loggers.content import points, thinning
from atod_sweep.sweep.loggers.sync import sync as bring_up_to_date
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.problems import explain
from atod_sweep.sweep.mlflow.stores import EXPERIMENT, default_uri
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study


def test_points_are_evaluations_and_training_rows_thinned_between_them():
    rows = [
        {"phase": "eval", "step": 0, "eval/success": 0.1, "eval/ended_by_turn": [3, 5], "cost/episodes": 0},
        {"phase": "train", "step": 0, "loss": 4.0, "cost/episodes": 8},
        {"phase": "train", "step": 1, "loss": 3.0, "check": "ab"},
        {"phase": "train", "step": 2, "loss": 2.0, "turn_weight": [1.0, 0.5, None], "odd key!": 1},
        {"phase": "train", "step": 3, "loss": 1.0},
        {"phase": "eval", "step": 4, "eval/success": 0.2, "cost/episodes": 32},
        {"phase": "train", "step": 4, "loss": 0.5},
        {"phase": "train", "step": 5, "loss": 0.4},
    ]
    evaluations = [(0, {"eval/success": 0.1, "cost/episodes": 0.0}), (4, {"eval/success": 0.2, "cost/episodes": 32.0})]
    second = (2, {"loss": 2.0, "turn_weight/0": 1.0, "turn_weight/1": 0.5, "odd key__e4afb23c": 1.0})
    last_before = (3, {"loss": 1.0})
    assert list(points(rows, 2)) == [
        evaluations[0],
        (0, {"loss": 4.0}),
        second,
        last_before,
        evaluations[1],
        (4, {"loss": 0.5}),
    ]
    assert list(points(rows, 100)) == [evaluations[0], (0, {"loss": 4.0}), last_before, evaluations[1]]
    assert len(list(points(rows))) == 8
    for so_far in range(len(rows)):  # a trial under way: what is logged stays
        assert list(points(rows, 2))[: len(part := list(points(rows[:so_far], 2)))] == part


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (50, 1), (51, 2), (400, 8), (1001, 21)])
def test_a_curve_has_at_most_fifty_points_beside_its_evaluations(steps, every):
    assert thinning({"steps": steps}) == every
    assert len(range(0, steps, every)) <= 50


class Store:
    """A logger whose store can be away."""

    name, option, place = "MLflow", "", "at http://store"

    def __init__(self):
        self.away, self.seen, self.begun, self.poison = False, [], 0, None

    def _answer(self):
        if self.away:
            raise ConnectionError("no route")

    def begin(self):
        self._answer()
        self.begun += 1

    def trial(self, row):
        self._answer()
        if row["trial"] == self.poison:
            raise ValueError("never")
        self.seen.append((row["trial"], row["state"]))

    def end(self, status, answer):
        self._answer()
        self.seen.append(status)

    def explain(self, error):
        return explain(error, "http://store")


class Said:
    """A console that keeps its lines."""

    def __init__(self, lines):
        self._lines = lines

    def note(self, text, **data):
        self._lines.append(text)

    def doing(self, what):
        pass


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr("atod_sweep.sweep.loggers.background.INTERVAL", 0.05)
    return Store()


def test_a_store_that_goes_away_delays_nothing_and_is_told_later(store, tmp_path):
    said = []
    tracker = Background(store, tmp_path, Said(said))
    tracker.begin(wait=True)
    store.away = True
    began = time.monotonic()
    for state in ("RUNNING", "COMPLETE"):
        tracker.add({"trial": "a-s0", "state": state})
    assert time.monotonic() - began < 1
    while tracker.problem is None:
        time.sleep(0.01)
    tracker.add({"trial": "a-s1", "state": "RUNNING"})
    assert said == [
        "at http://store",
        f"MLflow at http://store says: no route; the run goes on from its ledger (later: atod-sweep sync {tmp_path})",
    ]
    store.away = False
    tracker.close("FINISHED")
    assert sorted(store.seen[:-1]) == [("a-s0", "COMPLETE"), ("a-s1", "RUNNING")]
    assert store.seen[-1] == "FINISHED"
    assert store.begun == 2
    assert len(said) == 2


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_store_that_stays_away_is_admitted(store, tmp_path, from_the_start):
    said = []
    store.away = from_the_start
    tracker = Background(store, tmp_path, Said(said))
    tracker.begin(wait=True)
    store.away = True
    tracker.add({"trial": "a-s0", "state": "COMPLETE"})
    tracker.close("FINISHED")
    assert said[-1] == (
        "MLflow is behind the ledger (MLflow at http://store says: no route); "
        f"catch up with: atod-sweep sync {tmp_path}"
    )
    assert len(said) == 2
    assert said[0] == ("at http://store" if not from_the_start else said[0])
    assert store.seen == []


def test_a_store_that_comes_back_gets_every_trial_even_if_it_forgot_some(store, tmp_path):
    tracker = Background(store, tmp_path, Said([]))
    tracker.begin(wait=True)
    tracker.add({"trial": "a-s0", "state": "COMPLETE"})
    while not store.seen:
        time.sleep(0.01)
    store.away, store.seen = True, []
    tracker.add({"trial": "a-s1", "state": "COMPLETE"})
    while tracker.problem is None:
        time.sleep(0.01)
    store.away = False
    tracker.close("FINISHED")
    assert sorted(store.seen[:-1]) == [("a-s0", "COMPLETE"), ("a-s1", "COMPLETE")]


def test_a_row_that_the_store_refuses_holds_back_no_other(store, tmp_path):
    said = []
    store.poison = "a-s1"
    tracker = Background(store, tmp_path, Said(said))
    tracker.begin(wait=True)
    for seed in range(4):
        tracker.add({"trial": f"a-s{seed}", "state": "COMPLETE"})
    tracker.close("FINISHED")
    assert {trial for trial, _ in store.seen[:-1]} == {"a-s0", "a-s2", "a-s3"}
    assert store.seen[-1] == "FINISHED"  # the run does not stay open for it
    assert said[-1].startswith("MLflow is behind the ledger (MLflow at http://store says: never); catch up with: ")


def test_a_row_that_the_store_refuses_is_told_by_sync_after_all_others(store, tmp_path):
    rows = [trial_row("a", seed, "COMPLETE") for seed in range(3)]
    with Ledger(tmp_path) as writer:
        for row in (study_row(), *rows):
            writer.append(row)
    store.poison = "a-s1"
    with pytest.raises(UserError, match=r"says: never; then again: atod-sweep sync"):
        bring_up_to_date(tmp_path, lambda study: store, lambda line: None, lambda folder: None)
    assert store.seen == [("a-s0", "COMPLETE"), ("a-s2", "COMPLETE"), "FINISHED"]


def test_a_store_that_hangs_is_left_and_ctrl_c_ends_the_wait(store, tmp_path, monkeypatch):
    said, hanging = [], threading.Event()
    monkeypatch.setattr(store, "trial", lambda row: hanging.wait(60))
    monkeypatch.setattr("atod_sweep.sweep.loggers.background.PATIENCE", 0.2)
    tracker = Background(store, tmp_path, Said(said))
    tracker.begin(wait=True)
    tracker.add({"trial": "a-s0", "state": "COMPLETE"})
    tracker.close("FINISHED")
    assert said == [
        "at http://store",
        f"MLflow is behind the ledger (it took nothing for 0.2 s); catch up with: atod-sweep sync {tmp_path}",
    ]

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Background, "_finish", interrupt)
    tracker.close("FINISHED")
    assert "(not waited for)" in said[-1]
    hanging.set()


def test_a_run_that_is_being_written_is_not_synced(tmp_path):
    with Ledger(tmp_path) as writer:
        writer.append(study_row())
        with pytest.raises(UserError, match="another process is running this study"):
            sync(tmp_path, tracking_uri="sqlite:///nowhere.db")


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


def test_a_run_taken_up_again_looks_for_the_trials_that_are_new_alone(write_study, tmp_path, monkeypatch):
    searched = []
    search = Mirror._search
    monkeypatch.setattr(Mirror, "_search", lambda self, parent: searched.append(parent) or search(self, parent))
    options = {"backend": "local", "trainer": FAKE, "out": tmp_path / "runs"}
    folder = run_study(write_study(seeds=1), **options).run_dir
    uri = default_uri(tmp_path / "runs")
    searched.clear()
    run_study(write_study(seeds=1), resume=True, **options)
    assert searched == []
    store, (parent,), children = runs_of(uri)
    assert (parent.info.status, children.keys()) == ("FINISHED", {"slow-s0", "fast-s0"})
    store.delete_run(children["slow-s0"].info.run_id)
    run_study(write_study(seeds=2), extend=True, **options)
    assert runs_of(uri)[2].keys() == {"fast-s0", "slow-s1", "fast-s1"}
    sync(folder)  # looks at every trial
    assert runs_of(uri)[2].keys() == {"slow-s0", "fast-s0", "slow-s1", "fast-s1"}


def test_a_run_that_was_closed_without_a_trial_gets_it_when_it_is_taken_up_again(write_study, tmp_path, monkeypatch):
    options = {"backend": "local", "trainer": FAKE, "out": tmp_path / "runs"}
    log = Mirror._log

    def refuse(self, run, row, *rest):
        if row["trial"] == "slow-s0":
            raise ValueError("never")
        log(self, run, row, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "_log", refuse)
        run_study(write_study(seeds=1), **options)
    _, (parent,), children = runs_of(default_uri(tmp_path / "runs"))
    assert (parent.info.status, children["fast-s0"].info.status) == ("FINISHED", "FINISHED")
    assert children["slow-s0"].info.status == "RUNNING"
    run_study(write_study(seeds=1), resume=True, **options)
    assert runs_of(default_uri(tmp_path / "runs"))[2]["slow-s0"].info.status == "FINISHED"


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
        assert run.data.params["env.kwargs.fault"] == "flaky"
        assert run.data.metrics["cost/env_steps"] == 2560.0
        history = store.get_metric_history(run.info.run_id, "eval/success")
        assert [(m.step, m.value) for m in history] == [(s, 0.1 + 1e-2 * s + 0.001) for s in (0, 10, 20, 30, 40)]
        kept = {file.path for file in store.list_artifacts(run.info.run_id)}
        assert kept == {"config.yaml", "metrics.jsonl", "samples"}
        assert [f.path for f in store.list_artifacts(run.info.run_id, "samples")] == ["samples/step-000000.json"]
        assert children["bug-s0"].data.tags["error"].startswith("exception: ")

    check(uri)
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    for _ in range(2):  # from the files alone, and again without doubling anything
        assert sync(folder, tracking_uri=elsewhere) == 6
        check(elsewhere)


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
    monkeypatch.setattr("atod_sweep.sweep.loggers.background.PATIENCE", 5.0)
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
        assert sync(folder, tracking_uri=server.uri) == 8
        store, (parent,), children = runs_of(server.uri)
        assert parent.info.status == "FINISHED"
        assert {run.info.status for run in children.values()} == {"FINISHED"}
        assert len(children) == 8
        for run in children.values():
            assert len(store.get_metric_history(run.info.run_id, "eval/success")) == 5
            kept = {file.path for file in store.list_artifacts(run.info.run_id)}
            assert kept == {"config.yaml", "metrics.jsonl", "samples"}
    finally:
        server.stop()
