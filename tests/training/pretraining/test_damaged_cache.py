"""A cached model that is not as it was written is built again, once, and named; nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from small import tiny

from atod_sweep.errors import UserError
from atod_sweep.records import layout, manifest
from atod_sweep.training.pretraining import build, model_folder
from atod_sweep.training.pretraining import cache as models

WEIGHTS = "model.safetensors"
MADE: dict[str, tuple] = {}


def made(role, *how, _build=build.build):
    """What is tested here is when a model is built again: the building itself is done once a role."""
    if role not in MADE:
        MADE[role] = _build(role, *how)
    return MADE[role]


@pytest.fixture
def place(built, tmp_path, monkeypatch):
    """A cache of its own, with the models of `tiny()`, in a process that has not looked at them."""
    monkeypatch.setattr(build, "build", made)
    shutil.copytree(Path(built.student.path).parent, tmp_path / "models")
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(model_folder, "_checked", set())
    return tmp_path / "models" / Path(built.student.path).name


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "an empty folder": lambda p: [f.unlink() for f in p.iterdir()],
    "a cut recipe": lambda p: (p / layout.RECIPE).write_text('{"succ'),
    "an empty recipe": lambda p: (p / layout.RECIPE).write_text(""),
    "torn weights": lambda p: os.truncate(p / WEIGHTS, 1000),
    "a flipped bit of weights": lambda p: flip(p / WEIGHTS),
    "a flipped bit of the tokenizer": lambda p: flip(p / "tokenizer.json"),
    "a flipped bit of the manifest": lambda p: flip(p / manifest.NAME),
    "no weights": lambda p: (p / WEIGHTS).unlink(),
}
OLD = {  # without a manifest, what is torn is found all the same
    "an empty folder, old": lambda p: [f.unlink() for f in p.iterdir()],
    "a recipe that says nothing, old": lambda p: (p / layout.RECIPE).write_text("[]"),
    "torn weights, old": lambda p: os.truncate(p / WEIGHTS, 1000),
    "weights that are none, old": lambda p: (p / WEIGHTS).write_bytes(b""),
    "no weights, old": lambda p: (p / WEIGHTS).unlink(),
}


@pytest.mark.parametrize(
    "name", [*DAMAGE, *(pytest.param(one, marks=pytest.mark.slow if "weights" in one else ()) for one in OLD)]
)
def test_a_damaged_model_is_built_again_and_named(place, built, name):
    if name in OLD:
        (place / manifest.NAME).unlink()
    (DAMAGE | OLD)[name](place)
    notes = []
    found = models.ensure(tiny(), notes.append)
    assert (found.student.built, found.teacher.built) == (True, False)
    assert found.student.path == str(place)
    assert str(place) in notes[0]
    assert "is damaged (" in notes[0]
    assert "\n" not in notes[0]
    assert sum("damaged" in note for note in notes) == 1
    assert (place / WEIGHTS).read_bytes() == (Path(built.student.path) / WEIGHTS).read_bytes()
    assert not models.ensure(tiny(), notes.append).student.built


def test_a_model_of_a_first_version_is_used_as_it_is(place):
    (place / manifest.NAME).unlink()
    assert not models.ensure(tiny()).student.built


def test_a_process_looks_once(place, monkeypatch):
    looked, check = [], manifest.check
    monkeypatch.setattr(manifest, "check", lambda folder: looked.append(folder) or check(folder))
    for _ in range(3):
        models.ensure(tiny())
    assert len(looked) == len(set(looked)) == 2


def test_what_a_killed_process_was_writing_is_cleared_away(place):
    litter = place.with_name(f".{place.name}-0123")
    litter.mkdir()
    (litter / WEIGHTS).write_bytes(b"half")
    shutil.rmtree(place)
    assert models.ensure(tiny()).student.built
    assert not litter.exists()


def no_writing(monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(model_folder.FileLock, "acquire", refuse)


def test_a_whole_model_is_used_from_a_cache_that_is_read_only(place, monkeypatch):
    no_writing(monkeypatch, PermissionError(13, "Permission denied"))
    assert not models.ensure(tiny()).student.built
    shutil.rmtree(place)
    with pytest.raises(UserError, match=r"cannot be written: Permission denied; make room or set ATOD_SWEEP_CACHE"):
        models.ensure(tiny())


def test_a_full_disk_is_one_line(place, monkeypatch):
    shutil.rmtree(place)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_folder, "save", full)
    with pytest.raises(UserError, match=r"student-[0-9a-f]{16}: cannot be written: No space left on device"):
        models.ensure(tiny())


def test_a_trained_student_is_vouched_for(built, tmp_path):
    from atod_sweep.training.loop.trainer import train

    train(tiny(), tmp_path)
    assert manifest.check(tmp_path / layout.STUDENT) == {}
    assert json.loads((tmp_path / layout.STUDENT / "config.json").read_text())["model_type"] == "llama"
