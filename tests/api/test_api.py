"""From a study to DataFrames, figures and an export in Python, as the README shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_files import read_ledger
from tiny_study import STUDY

import atod_sweep as atod
from atod_sweep import api
from atod_sweep.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole run of a tiny study, given as a mapping, and the events that its callback got."""
    events: list[dict] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))
        out = tmp_path_factory.mktemp("api")
        run = atod.run(STUDY, out=out, backend="local", callback=events.append, verbosity=-1)
    return run, events


def test_importing_the_package_is_light():
    program = (
        "import time, sys; t = time.perf_counter(); import atod_sweep; took = time.process_time();"
        "heavy = {'torch', 'ray', 'pydantic', 'pandas', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy; assert took < 1.0, took;"
        "assert set(atod_sweep.__all__) <= set(dir(atod_sweep))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", atod.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(atod, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="runn"):
        _ = atod.runn


def test_misspelt_options_are_refused():
    with pytest.raises(TypeError, match="cuncurrency"):
        atod.run(STUDY, cuncurrency=2)


def test_a_run_is_whole_report_and_best_schedule_included(made):
    run, events = made
    assert run.ok
    assert not run.interrupted
    assert run.report_path == run.folder / "report.html"
    assert (run.folder / "best_schedule.yaml").is_file()
    assert {"begin", "models", "trial", "evaluation", "doing"} <= {event["event"] for event in events}


def test_its_tables_are_data_frames(made):
    run, _ = made
    assert set(run.trials["arm"]) == {"cosine", "linear", "rl", "teacher"}
    assert list(run.arms["arm"]) == ["cosine", "linear", "rl"]
    assert len(run.verdicts) == 1
    assert set(run.curves.columns) >= {"arm", "step"}
    assert list(run.failures.columns) == ["trial", "arm", "seed", "attempt", "status", "type", "message"]
    assert run.failures.empty


def test_its_figures_are_matplotlib_s(made):
    run, _ = made
    from matplotlib.figure import Figure

    assert run.figures
    assert isinstance(run.plot(run.figures[0]), Figure)
    with pytest.raises(UserError, match="'no_such'"):
        run.plot("no_such")


def test_it_shows_itself_in_a_notebook_without_reading_names_as_markup(made):
    run, _ = made
    assert "<table>" in run._repr_html_()
    assert "Does it run?" in run._repr_html_()
    assert "7 of 7 trials complete" in repr(run)


def test_its_best_schedule_is_exported_and_verified(made, tmp_path):
    run, _ = made
    assert run.best.arm in ("cosine", "linear")
    folder = run.export("bundle", tmp_path / "bundle")
    assert atod.verify(folder)
    assert json.loads((folder / "schedule.json").read_text())


def test_a_folder_is_opened_again(made):
    run, _ = made
    assert atod.load(str(run.folder)).verdicts.equals(run.verdicts)
    with pytest.raises(UserError, match="nowhere"):
        atod.load("nowhere")


def test_resuming_a_finished_run_changes_nothing(made, monkeypatch, tmp_path_factory):
    run, _ = made
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))
    before = read_ledger(run.folder)
    again = atod.resume(run.folder, verbosity=-1)
    assert again.ok
    rows = read_ledger(run.folder)
    trials = [[row for row in some if row["event"] == "trial"] for some in (before, rows)]
    assert trials[0] == trials[1]


def test_training_takes_a_mapping_and_a_callback(tmp_path, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))
    told: list[dict] = []
    result = atod.train(STUDY["base"], overrides={"steps": 2}, out=tmp_path / "one", callback=told.append)
    assert 0 <= result.final["eval/success"] <= 1
    assert told[-1]["step"] == 2
    assert (tmp_path / "one" / "student").is_dir()


def test_the_command_line_is_parse_hand_on_print():
    """Verbs of the command line that have a function here use it."""
    source = Path(api.__file__).parents[1] / "cli"
    text = "".join(path.read_text(encoding="utf-8") for path in source.glob("*.py"))
    assert "run_study(" not in text
    assert "run_search(" not in text
