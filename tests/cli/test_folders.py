"""list, init, status and ls."""

from __future__ import annotations

import sys
import time

import pytest
from fake_training import FAKE
from filelock import FileLock
from ledger_files import failed_row, study_row, trial_row

from atod_sweep import cli
from atod_sweep.config.given import given
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.envs.registry import make
from atod_sweep.records.ledger import Ledger
from atod_sweep.sweep.studies.run_study import run_study


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `atod-sweep ...`; returns (exit code, stdout, stderr)."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["atod-sweep", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def finished(tmp_path, no_mlflow, capsys):
    """A run of fake trials that is over, and one that was cut short."""
    data = {
        "name": "small",
        "question": "Which is better?",
        "base": {"steps": 40},
        "arms": {"a": {}, "b": {"steps": 30}},
    }
    run_study({**data, "seeds": 2}, out=tmp_path / "runs", backend="local", trainer=FAKE)
    cut = {**data, "name": "cut", "seeds": 1}
    run_study(cut, out=tmp_path / "runs", backend="local", trainer=FAKE, max_trials=1)
    capsys.readouterr()
    return tmp_path / "runs"


def test_version(call):
    code, out, _ = call("--version")
    assert code == 0
    assert out.startswith("atod-sweep 0.")


def test_what_ships_is_listed_with_its_question(call):
    code, out, _ = call("list")
    assert code == 0
    assert "Does the shape of the teacher's decay matter on short support calls?  (80 seconds on two CPU cores)" in out
    assert "presets/support_desk_compact" in out


def test_a_first_study_is_written_and_is_valid(call, tmp_path, monkeypatch):
    code, out, _ = call("init", str(tmp_path / "mine"))
    assert code == 0
    assert f"next  atod-sweep run {tmp_path / 'mine' / 'study.yaml'}" in out
    monkeypatch.syspath_prepend(tmp_path / "mine")
    assert given(Study, tmp_path / "mine" / "study.yaml").record.name == "first"
    assert given(Search, tmp_path / "mine" / "space.yaml").record.parameters
    from atod_sweep.config.train import Env

    assert make(Env(id="my_game:Guess", horizon=4)).reset(seed=0)[0].startswith("starts with")
    code, _, err = call("init", str(tmp_path / "mine"))
    assert code == 2
    assert "exists already" in err
    (tmp_path / "file").write_text("")
    assert call("init", str(tmp_path / "file" / "x"))[0] == 2


def test_status_tells_where_a_run_stands(call, finished):
    code, out, _ = call("status", str(finished / "small"))
    assert code == 0
    assert out.splitlines()[0] == f"{finished / 'small'}  ended"
    assert " trials    4 complete" in out
    with FileLock(finished / "small" / "ledger.lock"):  # as another process holds it
        time.sleep(0)
        assert call("status", str(finished / "small"))[1].splitlines()[0].endswith("running")
    code, _, err = call("status", str(finished))
    assert code == 2
    assert "holds no run" in err


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "interrupted"),
        ([trial_row(state="RUNNING")], "interrupted"),  # its process was killed
        ([trial_row(state="COMPLETE"), failed_row("b", status="interrupted")], "interrupted"),  # Ctrl-C
        ([trial_row(state="COMPLETE"), failed_row("b", status="diverged")], "ended"),
        ([failed_row(status="interrupted"), trial_row(state="COMPLETE", attempt=2)], "ended"),  # and was resumed
    ],
)
def test_what_was_cut_short_can_be_resumed(call, tmp_path, rows, state):
    with Ledger(tmp_path) as writer:
        for row in (study_row(), *rows):
            writer.append(row)
    _, out, _ = call("status", str(tmp_path))
    assert out.splitlines()[0] == f"{tmp_path}  {state}"
    assert (f" next      atod-sweep resume {tmp_path}" in out) == (state == "interrupted")


def test_the_time_of_a_run_is_that_while_trials_were_under_way(call, tmp_path):
    night = 30_000.0
    rows = [
        trial_row("a", 0, "COMPLETE", time=1000.0, seconds=100.0),
        trial_row("b", 0, "COMPLETE", time=1050.0, seconds=100.0),  # beside it for 50 s
        trial_row("c", 0, "COMPLETE", time=night + 1060.0, seconds=60.0),  # resumed in the morning
    ]
    with Ledger(tmp_path) as writer:
        for row in (study_row(time=900.0), *rows):
            writer.append(row)
    assert " time      3:30 with trials under way, last written " in call("status", str(tmp_path))[1]


def test_runs_are_listed_the_latest_first(call, finished):
    code, out, _ = call("ls", str(finished))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["cut", "small"]
    (finished / "dead").mkdir()
    (finished / "dead" / "ledger.jsonl").write_text('{"event": "stu')  # killed in its first row
    ledger = finished / "cut" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"RUNNING"', b'"RUNNIN?"', 1))
    damaged, line = call("ls", str(finished))[1].splitlines()
    assert damaged.split()[:2] == ["cut", "damaged"]
    assert "its checksum is another" in damaged
    assert line.split()[:2] == ["small", "ended"]
    code, _, err = call("ls", str(finished / "nowhere"))
    assert code == 2
    assert "no such folder" in err
