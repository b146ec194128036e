"""Whatever state a store is in, it never stops a study, says what to do in one line, and `sync` catches up."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from fake_training import FAKE

from atod_sweep.api import sync
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.sweep.mlflow import database
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.problems import explain
from atod_sweep.sweep.mlflow.stores import EXPERIMENT, Place, check, connect, default_uri, file_of
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A new database, as a file to copy."""
    path = tmp_path_factory.mktemp("whole") / "mlflow.db"
    connect(f"sqlite:///{path}")
    assert not list(path.parent.glob(".mlflow.db-new-*"))
    return path


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Seconds and not minutes for stores that are not well."""
    monkeypatch.setattr(database, "_PATIENCE", 0.3)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


# ---- the file is there whole or not at all --------------------------------------------------------------------------


def first_tables_only(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        kept = ("experiments", "runs", "metrics", "params", "tags")
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name not in kept and not name.startswith("sqlite_"):
                db.execute(f'DROP TABLE "{name}"')
        db.commit()


def killed_in_a_migration(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        db.execute("DROP TABLE webhooks")
        db.commit()


def killed_before_the_last_line(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        db.commit()


def test_a_database_of_which_only_the_file_was_made_is_made(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"")
    connect(f"sqlite:///{path}").create_experiment("mine")
    assert connect(f"sqlite:///{path}").get_experiment_by_name("mine") is not None


HALF = "was left half made; move the file away"
OLDER = "was made by another version of MLflow; back it up, then: mlflow db upgrade {uri}"


@pytest.mark.parametrize(
    ("damage", "said"),
    [(first_tables_only, HALF), (killed_in_a_migration, HALF), (killed_before_the_last_line, OLDER)],
)
def test_a_database_that_somebody_else_left_half_made_is_told_with_a_remedy(whole, tmp_path, damage, said):
    path = tmp_path / "mlflow.db"
    shutil.copy(whole, path)
    damage(path)
    uri = f"sqlite:///{path}"
    with pytest.raises(Exception, match=r"schema|already exists|duplicate column") as caught:
        connect(uri)
    assert explain(caught.value, uri) == f"MLflow at {uri} {said.format(uri=uri)}"


def test_a_database_with_something_in_it_is_never_replaced(whole, tmp_path):
    path = tmp_path / "mlflow.db"
    shutil.copy(whole, path)
    client = connect(f"sqlite:///{path}")
    client.create_run(client.create_experiment("thesis"))
    copy = tmp_path / "older.db"  # a name that MLflow has not opened in this process
    shutil.copy(path, copy)
    killed_before_the_last_line(copy)
    before = copy.read_bytes()
    with pytest.raises(Exception, match="out-of-date database schema") as caught:
        connect(f"sqlite:///{copy}")
    assert copy.read_bytes() == before
    assert explain(caught.value, f"sqlite:///{copy}") == (
        f"MLflow at sqlite:///{copy} was made by another version of MLflow; "
        f"back it up, then: mlflow db upgrade sqlite:///{copy}"
    )


def test_what_a_killed_maker_left_is_removed_and_two_makers_make_one(whole, tmp_path, monkeypatch):
    (tmp_path / ".mlflow.db-new-dead").mkdir()
    (tmp_path / ".mlflow.db-new-dead" / "mlflow.db").write_text("half")
    made = []

    def slowly(path):
        made.append(path)
        time.sleep(0.2)
        shutil.copy(whole, path)

    monkeypatch.setattr(database, "_make", slowly)
    threads = [
        threading.Thread(target=database.ensure, args=(default_uri(tmp_path), tmp_path / "mlflow.db")) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == [".mlflow.db.lock", "mlflow.db"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_attempt_that_is_cut_off_leaves_nothing(tmp_path, monkeypatch, stop):
    def half(path):
        path.write_text("half")
        raise stop

    monkeypatch.setattr(database, "_make", half)
    with pytest.raises(type(stop) if isinstance(stop, Exception) else stop):
        connect(default_uri(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == [".mlflow.db.lock"]


STARTER = """
import sys
from atod_sweep.sweep.mlflow.stores import EXPERIMENT, Place, check, connect, default_uri, file_of
connect(sys.argv[1]).get_experiment_by_name("x")
print("whole", flush=True)
"""


@pytest.mark.slow
def test_first_runs_that_are_killed_at_any_moment_leave_a_place_that_works(tmp_path):
    command = [sys.executable, "-c", STARTER, default_uri(tmp_path)]
    for moment in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        time.sleep(moment)
        process.kill()
        process.wait()
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["whole\n", "whole\n"]


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///a b.db?timeout=3", "a b.db"),
        ("sqlite+pysqlite:////a/b.db", "/a/b.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("http://h:5000", None),
        ("postgresql://h/db", None),
    ],
)
def test_the_file_of_an_address(uri, path):
    assert file_of(uri) == (None if path is None else type(file_of(uri))(path))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("htp://u:geheim@h", r"--tracking-uri 'htp://u:\*\*\*@h': not a store of this MLflow; give sqlite:///FILE or"),
        (
            "https://",
            "--tracking-uri 'https://': no server can be there; give an address such as http://localhost:5000",
        ),
        ("http:/x", "--tracking-uri 'http:/x': no server can be there"),
        ("http://h:99999", "no server can be there"),
        ("mlruns", "--tracking-uri 'mlruns': not a store of this MLflow"),
        ("file:///tmp/mlruns", "not a store of this MLflow"),
        ("postgresql+pg8000://u:geheim@h/d", r"'postgresql\+pg8000://u:\*\*\*@h/d': needs the package pg8000"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_before_anything_runs(write_study, tmp_path, uri, message):
    check(Place("sqlite:///x.db", EXPERIMENT))
    check(Place("http://nobody.there", EXPERIMENT))
    with pytest.raises(UserError, match=message):
        run_study(write_study(), out=tmp_path / "runs", backend="local", trainer=FAKE, tracking_uri=uri)
    assert ledger.read(tmp_path / "runs" / "small") == []


# ---- stores that are not well ---------------------------------------------------------------------------------------


class Answer(http.server.BaseHTTPRequestHandler):
    """A server that has one answer for everything."""

    def answer(self):
        self.send_response(self.server.code)
        self.end_headers()
        self.wfile.write(b"no")

    do_GET = do_POST = do_PATCH = do_PUT = answer

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def server_that_answers(code):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.code = code
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://alice:geheim@127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def nobody(path, whole):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://alice:geheim@127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def silent(path, whole):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        yield f"http://alice:geheim@127.0.0.1:{deaf.getsockname()[1]}"


@contextlib.contextmanager
def not_a_server(path, whole):
    with server_that_answers(404) as uri:
        yield uri


@contextlib.contextmanager
def forbidden(path, whole):
    with server_that_answers(403) as uri:
        yield uri


@contextlib.contextmanager
def without_login(path, whole):
    with server_that_answers(401) as uri:
        yield uri


@contextlib.contextmanager
def broken_server(path, whole):
    with server_that_answers(500) as uri:
        yield uri


@contextlib.contextmanager
def garbage(path, whole):
    path.write_bytes(b"no database " * 1000)
    yield f"sqlite:///{path}"


@contextlib.contextmanager
def cut_in_half(path, whole):
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    yield f"sqlite:///{path}"


@contextlib.contextmanager
def locked(path, whole):
    shutil.copy(whole, path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield f"sqlite:///{path}"


@contextlib.contextmanager
def nowhere(path, whole):
    yield "sqlite:////proc/self/none/mlflow.db"


@contextlib.contextmanager
def a_folder(path, whole):
    path.mkdir()
    yield f"sqlite:///{path}"


@contextlib.contextmanager
def deleted(path, whole):
    shutil.copy(whole, path)
    client = connect(f"sqlite:///{path}")
    client.delete_experiment(client.create_experiment(EXPERIMENT))
    yield f"sqlite:///{path}"


UNWELL = {
    nobody: "does not answer; start it, or check the address",
    silent: "does not answer; start it, or check the address",
    not_a_server: "is not an MLflow server; check the address",
    forbidden: "refuses us; set MLFLOW_TRACKING_USERNAME and",
    without_login: "refuses us; set MLFLOW_TRACKING_USERNAME and",
    broken_server: "does not answer; start it, or check the address",
    garbage: "is damaged; move the file away, or restore it from a backup",
    cut_in_half: "is damaged; move the file away, or restore it from a backup",
    locked: "is locked; close what holds it",
    nowhere: "cannot be written; make it writable, or name another store with --tracking-uri",
    a_folder: "cannot be written; make it writable, or name another store with --tracking-uri",
    deleted: "was deleted; bring it back with: MLFLOW_TRACKING_URI=sqlite:///",
}


# Quick: one state for each kind of answer, or for what raises it.
LIKE_ANOTHER = (without_login, broken_server, cut_in_half, a_folder)


@pytest.mark.parametrize(
    "state",
    [pytest.param(one, marks=pytest.mark.slow if one in LIKE_ANOTHER else (), id=one.__name__) for one in UNWELL],
)
def test_a_study_runs_in_spite_of_its_store_and_sync_says_the_same(write_study, tmp_path, whole, capfd, state):
    with state(tmp_path / "unwell.db", whole) as uri:
        options = {"backend": "local", "trainer": FAKE, "tracking_uri": uri}
        outcome = run_study(write_study(seeds=1), out=tmp_path / "runs", **options)
        assert outcome.ok
        printed = capfd.readouterr()
        told = [line for line in printed.out.splitlines() if line.startswith("MLflow")]
        assert len(told) == 2
        assert UNWELL[state] in told[0]
        assert told[0].endswith(f"; the run goes on from its ledger (later: atod-sweep sync {outcome.run_dir})")
        assert told[1].startswith("MLflow is behind the ledger")
        assert printed.err == ""
        with pytest.raises(UserError) as refused:
            sync(outcome.run_dir, tracking_uri=uri)
        assert UNWELL[state] in str(refused.value)
        assert str(refused.value).endswith(f"; then again: atod-sweep sync {outcome.run_dir}")
        assert "\n" not in str(refused.value)
        assert "geheim" not in "".join(told) + str(refused.value)
        assert resume_run(outcome.run_dir, **options).ok
    shutil.copy(whole, tmp_path / "well.db")
    assert sync(outcome.run_dir, tracking_uri=f"sqlite:///{tmp_path / 'well.db'}") == 2


def broken_in_the_middle(how, monkeypatch):
    """Let a store fail in one way after the study has begun."""
    real = Mirror.trial

    def trial(self, row):
        how(self)
        real(self, row)

    monkeypatch.setattr(Mirror, "trial", trial)


def delete_experiment(mirror):
    if mirror._client.get_experiment(mirror._experiment).lifecycle_stage == "active":
        mirror._client.delete_experiment(mirror._experiment)


def delete_file(mirror):
    mirror._file.unlink(missing_ok=True)


def garble_file(mirror):
    mirror._file.write_bytes(b"no database " * 1000)


@pytest.mark.parametrize("how", [delete_experiment, delete_file, garble_file], ids=lambda how: how.__name__)
def test_a_store_that_breaks_in_the_middle(write_study, tmp_path, whole, capfd, monkeypatch, how):
    shutil.copy(whole, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with monkeypatch.context() as patch:
        broken_in_the_middle(how, patch)
        options = {"backend": "local", "trainer": FAKE, "tracking_uri": uri}
        outcome = run_study(write_study(seeds=1), out=tmp_path / "runs", **options)
    assert outcome.ok
    printed = capfd.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[-1].endswith(f"catch up with: atod-sweep sync {outcome.run_dir}")
    shutil.copy(whole, tmp_path / "well.db")
    assert sync(outcome.run_dir, tracking_uri=f"sqlite:///{tmp_path / 'well.db'}") == 2


def test_a_run_that_was_deleted_in_mlflow_is_recorded_again(write_study, tmp_path, whole):
    shutil.copy(whole, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    options = {"backend": "local", "trainer": FAKE, "tracking_uri": uri}
    outcome = run_study(write_study(seeds=1), out=tmp_path / "runs", **options)
    client = connect(uri)
    number = client.get_experiment_by_name(EXPERIMENT).experiment_id
    for run in client.search_runs([number]):
        client.delete_run(run.info.run_id)
    assert sync(outcome.run_dir, tracking_uri=uri) == 2
    assert len(client.search_runs([number])) == 3
