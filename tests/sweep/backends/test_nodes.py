"""Models and files on machines that share nothing with the driver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_training import FAKE

from atod_sweep.sweep.backends import ray_files as nodes
from atod_sweep.sweep.backends.ray_files import fetch, pack_models, place, push, unpack_models
from atod_sweep.sweep.trials import attempt as trainable
from atod_sweep.sweep.trials.jobs import Job


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def fill(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_models_are_unpacked_once_and_whole(tmp_path):
    built, fetched = tmp_path / "cache" / "teacher-1", tmp_path / "from_hub"
    fill(built, {"recipe.json": "{}", "model.safetensors": "w", "sub/extra.txt": "x"})
    fill(fetched, {"config.json": "{}"})
    cargo = pack_models([str(built), str(fetched), "organisation/model"])
    assert list(cargo) == [str(built)]
    before = tree(built)
    built.rename(tmp_path / "gone")
    for _ in range(2):
        unpack_models(cargo)
        assert tree(built) == before
    (built / "recipe.json").write_text("mine")
    unpack_models(cargo)  # what is there is left alone
    assert (built / "recipe.json").read_text() == "mine"
    assert [p.name for p in built.parent.iterdir() if not p.name.endswith(".lock")] == ["teacher-1"]


def test_a_folder_goes_up_and_comes_back_without_leftovers(tmp_path):
    folder, storage = tmp_path / "local", tmp_path / "storage"
    fill(folder, {"checkpoint/step-1/a": "1", "checkpoint/step-2/a": "22", "student/w": "w"})
    job = Job("a-s0", 1, {}, str(tmp_path / "runs/quick/trials/a-s0"), ("eval/success",), FAKE)
    uri = nodes.address(job, f"file://{storage}/")
    push(folder, uri)
    (folder / "checkpoint/step-1/a").unlink()
    fill(folder, {"checkpoint/step-3/a": "333", "student/w": "longer"})
    push(folder, uri)
    assert tree(storage) == {f"quick/trials/a-s0/{name}": data for name, data in tree(folder).items()}
    fetch(job, f"file://{storage}", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(folder)
    fetch(replace(job, trial="none"), f"file://{storage}", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.fixture
def foreign_job(tmp_path, monkeypatch):
    """A job whose run folder this machine does not see."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    config = {"steps": 40, "evaluation": {"every": 10}, "env": {"kwargs": {"fault": "flaky"}}}
    return Job("a-s0", 1, config, "/nowhere/runs/quick/trials/a-s0", ("eval/success",), FAKE)


def test_without_shared_folder_or_storage_the_failure_says_what_to_do(foreign_job):
    attempt = trainable._execute_here(foreign_job, None, {}, lambda rows: None)
    assert attempt.error.status == "no_shared_folder"
    assert "--storage" in attempt.error.message


def test_a_trial_on_a_foreign_node_continues_on_another_from_the_storage(foreign_job, tmp_path):
    storage, reported = f"file://{tmp_path / 'storage'}", []
    first = trainable._execute_here(foreign_job, storage, {}, reported.extend)
    assert first.error.status == "environment_failed"
    second = trainable._execute_here(replace(foreign_job, attempt=2), storage, {}, reported.extend)
    assert second.error is None
    assert [row["step"] for row in reported if row["phase"] == "eval"] == [0, 10, 20, 30, 40]  # none of them twice


def test_the_runs_own_folder_is_used_where_it_is_seen(tmp_path):
    fill(tmp_path, {"ledger.jsonl": ""})
    job = Job("a-s0", 1, {}, str(tmp_path / "trials/a-s0"), ("eval/success",), FAKE)
    assert place(job, None) is job
