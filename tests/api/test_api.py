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


@pytest.mark.parametrize(
    ("verb", "given", "message"),
    [
        (api.run, None, "study: expected a file, the name of a shipped one or a mapping, got None"),
        (api.run, [STUDY], "study: expected a file"),
        (api.search, 3, "search: expected a file, the name of a shipped one or a mapping, got 3"),
        (api.compare, [], "runs: name at least one folder"),
        (api.transfer, [], "runs: name at least one folder"),
        (api.transfer, "nowhere", "nowhere: no such folder"),
    ],
)
def test_what_is_no_study_and_no_run_is_told_in_one_line(verb, given, message):
    with pytest.raises(UserError, match=message):
        verb(given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: api.run(STUDY, loggers="wandb"), r"loggers: expected a list of names, got 'wandb'; give \['wandb'\]"),
        (lambda: api.run(STUDY, loggers=3), "loggers: expected a list of names, got 3; give a list of texts"),
        (lambda: api.run(STUDY, loggers=b"wandb"), "loggers: expected a list of names, got b'wandb'"),
        (lambda: api.run(STUDY, loggers=["wandb", 3]), r"got \['wandb', 3\]"),
        (lambda: api.report(".", formats=3), "formats: expected a list of names, got 3; give a list of texts"),
        (lambda: api.report("nowhere", formats="html"), r"formats: .* got 'html'; give \['html'\]"),
        (lambda: api.run(STUDY, until_decided=5), r"until_decided: .* got 5; .*Rule\(max_seeds=…\)"),
        (lambda: api.run(STUDY, max_trials=0), "max_trials: expected a number, at least 1, got 0; leave it out"),
        (lambda: api.run(STUDY, time_budget=float("nan")), "time_budget: expected a number, at least 0, got nan"),
        (lambda: api.run(STUDY, max_retries=-1), "max_retries: expected a number, at least 0, got -1"),
    ],
)
def test_what_is_given_in_another_form_is_told_with_the_right_one(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_run_is_whole_report_and_best_schedule_included(tiny, events):
    assert tiny.ok
    assert not tiny.interrupted
    assert tiny.report_path == tiny.folder / "report.html"
    assert (tiny.folder / "best_schedule.yaml").is_file()
    assert {"begin", "models", "trial", "evaluation", "doing"} <= {event["event"] for event in events}


def test_its_tables_are_data_frames(tiny):
    assert set(tiny.trials["arm"]) == {"linear", "weighted", "rl", "teacher", "base_student"}
    assert list(tiny.arms["arm"]) == ["linear", "weighted", "rl"]
    assert len(tiny.verdicts) == 1
    assert set(tiny.curves.columns) >= {"arm", "step"}
    assert list(tiny.failures.columns) == ["trial", "arm", "seed", "attempt", "status", "type", "message"]
    assert tiny.failures.empty


def test_its_figures_are_matplotlib_s(tiny):
    from matplotlib.figure import Figure

    assert tiny.figures
    assert isinstance(tiny.plot(tiny.figures[0]), Figure)
    with pytest.raises(UserError, match="'no_such'"):
        tiny.plot("no_such")


def test_it_shows_itself_in_a_notebook_without_reading_names_as_markup(tiny):
    assert "<table>" in tiny._repr_html_()
    assert "notes.txt right" in tiny._repr_html_()
    assert "8 of 8 trials complete" in repr(tiny)


def test_its_best_schedule_is_exported_and_verified(tiny, tmp_path):
    assert tiny.best.arm in ("linear", "weighted")
    folder = tiny.export("bundle", tmp_path / "bundle")
    assert atod.verify(folder)
    assert json.loads((folder / "schedule.json").read_text())


def test_a_folder_is_opened_again(tiny):
    assert atod.load(str(tiny.folder)).verdicts.equals(tiny.verdicts)
    with pytest.raises(UserError, match="nowhere"):
        atod.load("nowhere")


@pytest.mark.usefixtures("no_mlflow")
def test_resuming_a_finished_run_changes_nothing(tiny, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))
    before = read_ledger(tiny.folder)
    again = atod.resume(tiny.folder, verbosity=-1)
    assert again.ok
    rows = read_ledger(tiny.folder)
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
