"""Checkpoints are whole or not there, belong to one config, and hold nothing that could run."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch
from interruptions import Recorder, same, stopped_run, weights
from safetensors.torch import load_file
from small import tiny

from atod_sweep.records import manifest
from atod_sweep.training.failures import BadCheckpoint
from atod_sweep.training.loop import checkpoint
from atod_sweep.training.loop.checkpoint import Checkpoint
from atod_sweep.training.loop.trainer import train

CPU = torch.device("cpu")


def make(step: int) -> Checkpoint:
    """A checkpoint with one of everything; optimiser states and generators look like this."""
    optimiser = {
        "state": {0: {"step": torch.tensor(float(step)), "exp_avg": torch.full((2, 3), 0.1)}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.95), "fused": True, "params": [0]}],
    }
    sampling = [torch.Generator().manual_seed(step).get_state()]
    return Checkpoint(
        step,
        {"w": torch.arange(6.0).view(2, 3).T + step, "half": torch.ones(2, dtype=torch.bfloat16)},
        {"optimiser": optimiser, "sampling": sampling, "algorithm": {}},
        {"ranks": [{"cost": {"seconds": 0.1}}], "rows": [{"step": step, "turn_weight": [1.0 / 3.0, None]}]},
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """Checkpoints of steps 1 and 2 for the config "mine"."""
    for step in (1, 2):
        checkpoint.save(tmp_path / "checkpoint", make(step), "mine")
    return tmp_path / "checkpoint"


def load(folder: Path, digest: str = "mine") -> tuple[Checkpoint | None, list[str]]:
    notes: list[str] = []
    return checkpoint.load_newest(folder, digest, CPU, notes.append), notes


def test_what_was_saved_comes_back(folder):
    found, notes = load(folder)
    want = make(2)
    assert notes == []
    assert found.step == 2
    assert found.state == want.state
    assert same(found.weights, want.weights)
    assert {t.dtype for t in found.weights.values()} == {torch.float32, torch.bfloat16}
    assert found.tensors["optimiser"]["param_groups"] == want.tensors["optimiser"]["param_groups"]
    assert same(found.tensors["optimiser"]["state"][0], want.tensors["optimiser"]["state"][0])
    assert torch.equal(found.tensors["sampling"][0], want.tensors["sampling"][0])


def test_the_two_newest_are_kept(folder):
    for step in (3, 10, 100):
        checkpoint.save(folder, make(step), "mine")
    assert sorted(p.name for p in folder.iterdir()) == ["step-000010", "step-000100"]
    assert load(folder)[0].step == 100


def test_saving_a_step_again_replaces_it(folder):
    again = make(2)
    again.state["rows"] = []
    checkpoint.save(folder, again, "mine")
    assert load(folder)[0].state["rows"] == []


def test_no_checkpoint_is_none(tmp_path):
    assert load(tmp_path / "nowhere") == (None, [])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


TEARS = {
    "cut": cut,
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors", "optimiser.pt", "state.json"])
def test_a_torn_checkpoint_is_skipped_for_the_one_before(folder, name, tear):
    TEARS[tear](folder / "step-000002" / name)
    found, notes = load(folder)
    assert found.step == 1
    assert len(notes) == 1
    assert "step-000002" in notes[0]
    assert "torn" in notes[0]


def unsealed(path: Path, **changes) -> None:
    """Give a checkpoint a manifest as the first versions wrote it, with changes."""
    facts = json.loads((path / manifest.NAME).read_text())
    kept = {key: facts[key] for key in ("step", "config", "files")} | changes
    (path / manifest.NAME).write_text(json.dumps(kept, indent=1))


def test_checkpoints_of_the_first_versions_are_used(folder):
    unsealed(folder / "step-000002")
    found, notes = load(folder)
    assert (found.step, notes) == (2, [])


@pytest.mark.parametrize("step", [3, 4, 1, "2", None, 2.0])
def test_a_step_that_is_not_its_folders_is_not_believed(folder, step):
    unsealed(folder / "step-000002", step=step)
    found, notes = load(folder)
    assert found.step == 1
    assert f"step-000002: torn (its manifest is of step {step!r})" in notes[0]


def test_any_flipped_bit_of_a_checkpoint_is_found(folder):
    """Every byte of the manifest, and some of the other files'."""
    rng = random.Random(0)
    path = folder / "step-000002"
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        places = range(len(whole)) if file.name == manifest.NAME else rng.sample(range(len(whole)), 40)
        for at in places:
            file.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
            found, notes = load(folder)
            assert found.step == 1, (file.name, at)
            assert "torn" in notes[0]
        file.write_bytes(whole)
    assert load(folder)[0].step == 2


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"files": []}'])
def test_a_manifest_that_is_none_counts_as_torn(folder, text):
    (folder / "step-000002" / "manifest.json").write_text(text)
    found, notes = load(folder)
    assert found.step == 1
    assert "torn" in notes[0]


def test_a_checkpoint_of_another_config_is_not_used(folder):
    checkpoint.save(folder, make(3), "other")
    found, notes = load(folder)
    assert found.step == 2
    assert "step-000003: written by another config (other, this one is mine)" in notes[0]


def test_checkpoints_of_which_none_can_be_used_are_an_error(folder):
    with pytest.raises(BadCheckpoint, match=r"no usable .*another config.*another config.*remove it") as error:
        load(folder, "other")
    assert error.value.status == "bad_checkpoint"
    assert "\n" not in str(error.value)
    cut(folder / "step-000001" / "state.json")
    shutil.rmtree(folder / "step-000002")
    with pytest.raises(BadCheckpoint, match=r"torn \(state.json does not match its checksum\)"):
        load(folder)


@pytest.mark.parametrize("crash", ["save_file", "torch.save", "json.dumps", "shutil.rmtree", "rename"])
def test_a_crash_while_writing_leaves_the_checkpoints_as_they_were(folder, monkeypatch, crash):
    """Also a crash that runs no clean-up: what it leaves is hidden, and no step-* folder."""

    def fail(*_, **__):
        raise KeyboardInterrupt

    if crash == "rename":
        monkeypatch.setattr(Path, "rename", fail)
    elif crash == "shutil.rmtree":
        monkeypatch.setattr(checkpoint, "save_file", fail)
        monkeypatch.setattr(checkpoint.shutil, "rmtree", lambda *_, **__: None)  # killed before it could clean up
    else:
        module, _, name = crash.rpartition(".")
        monkeypatch.setattr(getattr(checkpoint, module) if module else checkpoint, name, fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, make(3), "mine")
    monkeypatch.undo()
    assert sorted(p.name for p in folder.glob("step-*")) == ["step-000001", "step-000002"]
    hidden = [p.name for p in folder.iterdir() if not p.name.startswith("step-")]
    assert all(name.startswith(".writing-") for name in hidden)
    assert len(hidden) == (crash == "shutil.rmtree")
    assert load(folder)[0].step == 2


class Payload:
    """Pickles to an instruction to create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def forge(path: Path, payload: Payload) -> None:
    """Replace a checkpoint's tensors by a pickle, with the checksum that its manifest has to carry."""
    facts = manifest.check(path)
    (path / manifest.NAME).unlink()
    torch.save({"optimiser": payload}, path / "optimiser.pt")
    manifest.write(path, **facts)


def test_nothing_is_unpickled(folder, tmp_path):
    trap = tmp_path / "trap"
    forge(folder / "step-000002", Payload(trap))
    found, notes = load(folder)
    assert not trap.exists()
    assert found.step == 1
    assert "step-000002: optimiser.pt holds more than tensors and numbers" in notes[0]
    pickle.loads(pickle.dumps(Payload(trap)))  # the trap works where somebody does unpickle
    assert trap.exists()


# ---- in a run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(built, tmp_path_factory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("whole")
    train(tiny(), folder)
    assert not (folder / "checkpoint").exists()  # a finished run needs none
    return weights(folder)


def test_a_run_resumes_from_the_checkpoint_before_a_torn_one(whole, tmp_path, caplog):
    stopped_run(tiny(), tmp_path, 3)
    cut(tmp_path / "checkpoint" / "step-000003" / "model.safetensors")
    recorder = Recorder()
    train(tiny(), tmp_path, recorder, resume=True)
    assert ("train", 2) in recorder.by_step()
    assert same(weights(tmp_path), whole)
    assert "step-000003: torn (model.safetensors" in caplog.text


def test_a_run_refuses_checkpoints_of_another_config(built, tmp_path):
    stopped_run(tiny(), tmp_path, 2)
    for changed in ({"optimiser__lr": 0.02}, {"steps": 5}, {"seed": 1}):
        with pytest.raises(BadCheckpoint, match="written by another config"):
            train(tiny(**changed), tmp_path, resume=True)


def test_where_a_run_computes_is_no_part_of_its_config(whole, tmp_path):
    stopped_run(tiny(), tmp_path, 2)
    train(tiny(runtime__device="auto", checkpoint_every=2), tmp_path, resume=True)
    assert same(weights(tmp_path), whole) or torch.cuda.is_available()


def test_what_a_run_saves(built, tmp_path):
    """Everything that training changes, under the names of the policy; JSON and tensors, no code."""
    stopped_run(tiny(objective__advantage__kind="gae"), tmp_path, 1)
    (path,) = (tmp_path / "checkpoint").iterdir()
    assert path.name == "step-000001"
    assert sorted(p.name for p in path.iterdir()) == [
        "manifest.json",
        "model.safetensors",
        "optimiser.pt",
        "state.json",
    ]
    names = load_file(path / "model.safetensors").keys()
    assert {"value_head.weight", "value_head.bias", "model.lm_head.weight"} <= names
    state = json.loads((path / "state.json").read_text())
    assert [row["phase"] for row in state["rows"]] == ["train"]
    assert state["ranks"][0]["tasks"]["bit_generator"] == "PCG64"
