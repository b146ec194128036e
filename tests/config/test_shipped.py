"""Shipped studies and spaces: found by name, listed, and in the wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from atod_sweep.config import shipped
from atod_sweep.config.given import given
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.config.train import Evaluation
from atod_sweep.errors import UserError
from atod_sweep.sweep.studies.plan import resolve

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["quickstart", "quickstart.yaml", "studies/quickstart", "studies/quickstart.yaml"])
def test_a_study_is_found_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert given(Study, name).record.name == "quickstart"


def test_a_file_that_is_there_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart.yaml").write_text(
        "name: mine\nquestion: Q?\nbase: presets/support_desk_compact\narms: {a: {}}\n"
    )
    assert given(Study, "quickstart.yaml").record.name == "mine"
    assert given(Study, "quickstart").record.name == "quickstart"


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (Study, "quikstart", "did you mean 'quickstart'"),
        (Study, "paper_neighbourhood", "atod-sweep search paper_neighbourhood"),
        (Search, "quickstart", "atod-sweep run quickstart"),
        (Search, "zzz", "shipped: kl_penalty"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(kind, name, said):
    with pytest.raises(UserError, match=said):
        given(kind, name)


def test_every_shipped_file_is_listed_with_its_question_and_loads():
    for one in shipped.listing("studies"):
        assert given(Study, one.name).record.question == one.question
    for one in shipped.listing("search_spaces"):
        assert given(Search, one.name).record.question == one.question
    assert {"quickstart", "teacher_ceiling"} <= {one.name for one in shipped.listing("studies")}
    assert all(one.time for one in shipped.listing("studies"))


def test_a_time_that_was_not_measured_is_called_estimated():
    time = {one.name: one.time for one in [*shipped.listing("studies"), *shipped.listing("search_spaces")]}
    assert time["quickstart"] == "80 seconds on two CPU cores"
    assert time["ladder"].startswith("estimated: ")
    assert time["optimiser"] == ""


@pytest.mark.parametrize("name", [one.name for one in shipped.listing("studies")])
def test_every_shipped_study_resolves_and_is_judged_on_tasks_of_its_own(name):
    found = given(Study, name)
    plan = resolve(found.record, found.folder, found.where)
    assert plan.trials
    if name in ("quickstart", "smollm2", "ladder_lr"):  # a first look, a real model, a pilot
        return
    assert plan.study.hypotheses
    assert plan.study.metric.name == "final/success"
    assert plan.base["evaluation"]["seed"] != Evaluation().seed


def test_a_mapping_is_kept_as_text_that_reads_back(tmp_path):
    data = {"name": "m", "question": "Q?", "base": "presets/support_desk_compact", "arms": {"a": {}, "b": {"steps": 3}}}
    found = given(Study, {**data, "hypotheses": ["b > a on eval/success by 0.1"]})
    path = tmp_path / "m.yaml"
    path.write_text(found.text)
    assert given(Study, path).record == found.record


@pytest.mark.slow
def test_the_wheel_holds_them_and_no_results(tmp_path):
    import subprocess
    import sys
    import zipfile

    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for kind in ("studies", "search_spaces"):
        held = {name for name in names if name.startswith(f"atod_sweep/shipped/{kind}/")}
        assert {f"atod_sweep/shipped/{kind}/{name}.yaml" for name in shipped.files(kind)} <= held
    assert not [name for name in names if "results" in Path(name).parts]
