"""Missing models are built in processes of their own, and are those that this process would build."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from small import tiny

from atod_sweep.errors import UserError
from atod_sweep.training.pretraining import apart, cache
from atod_sweep.training.pretraining.apart import Builders

STARTED = apart._started  # as it is outside of tests


@pytest.fixture(autouse=True)
def _for_real(monkeypatch):
    monkeypatch.setattr(apart, "_started", STARTED)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("there", [{"teacher"}, pytest.param(set(), marks=pytest.mark.slow)], ids=["one", "both"])
def test_missing_models_are_built_beside_each_other(built, own_cache, there):
    for role in there:
        path = Path(getattr(built, role).path)
        shutil.copytree(path, own_cache / "models" / path.name)
    notes: list[str] = []
    with Builders([tiny(), tiny(steps=9)], at_a_time=2) as building:
        assert building.busy
        assert building.suffice
        assert not building.over
        made = building.made(notes.append)
        assert building.over
    expected, found = cache.expected(tiny()), cache.ensure(tiny())
    assert (expected.teacher.path, expected.student.path) == (found.teacher.path, found.student.path)
    missing = {"teacher", "student"} - there
    assert set(building.paths) == set(made) == {getattr(found, role).path for role in missing}
    assert all(one.built and one.seconds > 0 for one in made.values())
    assert not found.teacher.built
    assert {note.partition(":")[0] for note in notes} == missing
    for role in missing:
        ours, theirs = (Path(getattr(models, role).path) / "model.safetensors" for models in (built, found))
        assert ours.read_bytes() == theirs.read_bytes()


def test_what_is_there_starts_nothing(built):
    with Builders([tiny()], at_a_time=2) as building:
        assert not building.busy
        assert building.made(print) == {}


def test_a_process_that_is_gone_leaves_the_work_to_whoever_asked(own_cache):
    with Builders([tiny()], at_a_time=1) as building:
        assert not building.suffice
        (process,) = building._processes.values()
        os.killpg(process.pid, signal.SIGKILL)
        assert building.made(print) == {}


def test_no_process_outlives_the_block(own_cache):
    with Builders([tiny()], at_a_time=2) as building:
        processes = list(building._processes.values())
        building.follow(print)
    assert all(process.poll() is not None for process in processes)


def says(role, config):
    """A process that ends at once with what a builder says of a model without words."""
    said = json.dumps({"wrong": f"{role}: {config.env.id!r} has no vocabulary()"})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(["echo", said], **pipes, text=True, start_new_session=True)


@pytest.mark.parametrize("started", [says, pytest.param(STARTED, marks=pytest.mark.slow)], ids=["said", "real"])
def test_what_cannot_be_built_is_said(own_cache, monkeypatch, started):
    monkeypatch.setattr(apart, "_started", started)
    config = tiny(env__id="odd_env:Base", teacher__kind="none", objective__distill_weight=0.0)
    with Builders([config], at_a_time=2) as building, pytest.raises(UserError, match="vocabulary"):
        building.made(print)
