"""A password that was given in a URI is nowhere: not in the run's folder, not in MLflow, not on the console."""

from __future__ import annotations

import sys

import pytest
from fake_training import FAKE

from atod_sweep.api.ending import conclude
from atod_sweep.cli import main
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.sweep.mlflow.stores import connect
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study

SECRET = "S3cretPw"
URIS = [f"http://alice:{SECRET}@127.0.0.1:9", f"http://127.0.0.1:9/?token={SECRET}"]


def holding(folder):
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.fixture
def words(write_study, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    words = [
        "/usr/bin/atod-sweep",
        "run",
        "small.yaml",
        "--tracking-uri",
        URIS[0],
        f"--storage=s3://me:{SECRET}@bucket",
    ]
    monkeypatch.setattr(sys, "argv", words)
    return words


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.usefixtures("blank_pictures")
def test_a_run_keeps_no_secret(write_study, tmp_path, words, capfd, uri):
    options = {"backend": "local", "trainer": FAKE, "tracking_uri": uri, "after": conclude_here}
    outcome = run_study(write_study(seeds=1), out=tmp_path / "runs", **options)
    assert (outcome.run_dir / "report.md").is_file()
    assert holding(tmp_path) == []
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    assert "***" in " ".join(ledger.read(outcome.run_dir)[0]["argv"])
    with pytest.raises(UserError, match=r"--tracking-uri http://.*\*\*\*.*; give --tracking-uri again"):
        resume_run(outcome.run_dir, trainer=FAKE)
    assert resume_run(outcome.run_dir, trainer=FAKE, tracking_uri=f"sqlite:///{tmp_path / 'm.db'}").ok
    assert holding(tmp_path) == []
    client = connect(f"sqlite:///{tmp_path / 'm.db'}")
    assert len(client.search_runs(["1"])) == 3


def conclude_here(folder):
    conclude(folder, lambda line: None)


@pytest.mark.slow
def test_a_failure_that_names_a_uri_is_recorded_without_its_secret(write_study, tmp_path, monkeypatch):
    import fake_training

    def broken(config, directory, report, resume=False):
        raise ConnectionError(f"no answer from {URIS[0]}")

    monkeypatch.setattr(fake_training, "train", broken)
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    folder = run_study(write_study(seeds=1), out=tmp_path, backend="local", trainer=FAKE, tracking_uri=uri).run_dir
    (row, *_) = ledger.fold(ledger.read(folder)).trials.values()
    assert row["error"]["message"] == "no answer from http://alice:***@127.0.0.1:9"
    assert holding(tmp_path) == []


@pytest.mark.parametrize("kind", [UserError, ValueError])
def test_what_ends_a_command_is_printed_without_secrets(monkeypatch, capsys, kind):
    def fail(standalone_mode):
        raise kind(f"--tracking-uri {URIS[0]!r}: no")

    monkeypatch.setattr(sys.modules["atod_sweep.cli.app"], "app", fail)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit if kind is UserError else kind) as ended:
        main()
    if kind is ValueError:
        sys.excepthook(kind, ended.value, ended.tb)
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "http://alice:***@127.0.0.1:9" in said
