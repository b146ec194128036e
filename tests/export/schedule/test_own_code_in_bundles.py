"""Code of the study's own in a bundle: carried with its hash or refused with a reason, and run only on trust."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shim_modules import modules_of

from atod_sweep.config import custom
from atod_sweep.config.base import dump_yaml, load_yaml
from atod_sweep.errors import UserError
from atod_sweep.export.schedule import bundle, schedule_file
from atod_sweep.export.schedule.verify import verify

MakeRun = Callable[..., Path]
IDEAS = """import math


def root(p):
    return math.sqrt(p)


def alternating(turn, horizon):
    return 1.0 if turn % 2 == 0 else 0.5
"""
WEIGHTS = """import torch


def surprise(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT):
    return (-student_logp_BT).clamp(0.0, 4.0) * mask_BT


def squares(student_logp_NV, teacher_logp_NV):
    return (student_logp_NV.exp() - teacher_logp_NV.exp()).square().sum(-1)
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that the study's paths are found in; what earlier tests ran is forgotten."""
    folder = tmp_path / "study-files"
    (folder / "workshop").mkdir(parents=True)
    (folder / "my_ideas.py").write_text(IDEAS, encoding="utf-8")
    (folder / "workshop" / "weights.py").write_text(WEIGHTS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(custom, "_MODULES", {})
    return folder


def objective(**fields: Any) -> dict[str, Any]:
    weight = {"kind": "custom", "path": "my_ideas:root", "start": 1.0, "end": 0.2, "anneal_steps": 6}
    weight["source"] = custom.digest(custom.text_of("my_ideas:root"))  # as a run records it
    return {"objective": {"kind": "interpolated", "distill_weight": weight, **fields}, "steps": 8, "env.horizon": 3}


@pytest.fixture
def exported(study: Path, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with a decay and a profile of the study's own, by somebody whose modules are not here any more."""
    overrides = objective(turns={"kind": "custom", "path": "my_ideas:alternating"})
    out = bundle.write(make_run({"best": (overrides, {0: 0.5})}), tmp_path / "out", target="pytorch")
    (study / "my_ideas.py").unlink()
    monkeypatch.setattr(custom, "_MODULES", {})
    return out


def test_the_bundle_carries_the_text_that_was_hashed(exported: Path) -> None:
    assert (exported / "custom_my_ideas.py").read_text(encoding="utf-8") == IDEAS
    weight = load_yaml(exported / "schedule.yaml")["objective"]["distill_weight"]
    assert (weight["path"], weight["source"]) == ("my_ideas:root", custom.digest(IDEAS))
    record = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))
    assert record["inputs"]["custom_my_ideas.py"] == custom.digest(IDEAS)
    assert f"the study's own `my_ideas:root`, SHA-256 `{weight['source']}`" in (exported / "README.md").read_text()


def test_verify_runs_it_only_on_trust(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds code of its study's own \(custom_my_ideas\.py.*--trust"):
        verify(exported)
    assert custom._MODULES == {}
    assert verify(exported, trust=True)[0].endswith("files are what schedule.yaml and provenance.json give")


def test_the_exported_module_needs_only_its_neighbours(exported: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, '.'); import schedule\n"
        "print(*(schedule.weights(s, k, 8, 3)['distill'] for s, k in ((0, 0), (3, 0), (3, 1), (7, 2), (7, 99))))\n"
        "print(schedule.weights(6, 0, 16, 3)['distill'])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=exported, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    half = 1.0 - 0.8 * 0.5**0.5  # sqrt(3 / 6) of the way from 1 to 0.2
    assert [float(x) for x in first.split()] == pytest.approx([1.0, half, half / 2, 0.2, 0.2], abs=1e-15)
    assert float(second) == pytest.approx(half, abs=1e-15)  # 6 of 16 steps are 3 of 8


@pytest.mark.parametrize("name", ["custom_my_ideas.py", "schedule.py", "README.md"])
def test_changes_are_found(exported: Path, name: str) -> None:
    path = exported / name
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=name):
        verify(exported, trust=True)


def test_other_code_with_its_own_hash_is_found(exported: Path) -> None:
    """Somebody who changes the code and every hash of it: the tables are no longer those of the schedule."""
    other = IDEAS.replace("math.sqrt(p)", "p * p")
    for name in ("custom_my_ideas.py", "schedule.yaml", "provenance.json", "schedule.py", "README.md"):
        text = (exported / name).read_text(encoding="utf-8")
        text = other if name == "custom_my_ideas.py" else text.replace(custom.digest(IDEAS), custom.digest(other))
        (exported / name).write_text(text, encoding="utf-8")
    record = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))
    record["inputs"]["schedule.yaml"] = custom.digest((exported / "schedule.yaml").read_text(encoding="utf-8"))
    (exported / "provenance.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")
    with pytest.raises(UserError, match=r"schedule\.json: distill at step 1"):
        verify(exported, trust=True)


def test_a_missing_file_and_a_missing_hash(exported: Path) -> None:
    before = (exported / "schedule.yaml").read_text(encoding="utf-8")
    data = load_yaml(exported / "schedule.yaml")
    del data["objective"]["distill_weight"]["source"]
    (exported / "schedule.yaml").write_text(dump_yaml(data), encoding="utf-8")
    with pytest.raises(UserError, match=r"'my_ideas:root' stands without the SHA-256 of its module"):
        verify(exported, trust=True)
    assert custom._MODULES == {}
    (exported / "schedule.yaml").write_text(before, encoding="utf-8")
    (exported / "custom_my_ideas.py").unlink()
    with pytest.raises(UserError, match=r"custom_my_ideas\.py: is missing from the export"):
        verify(exported, trust=True)


def test_training_with_the_bundle_needs_the_same_module(exported: Path, study: Path) -> None:
    """The bundle's own file is not imported behind anybody's back."""
    train = schedule_file.load_train_with(exported, "presets/support_desk_compact", {"steps": 8})
    weight = train.objective.distill_weight
    with pytest.raises(UserError, match="no module 'my_ideas' here"):
        _ = weight.function
    (study / "my_ideas.py").write_text(IDEAS, encoding="utf-8")
    assert weight.function(0.25) == 0.5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("import numpy as np\n", "imports 'numpy', so a bundle cannot carry it: it shall run on plain Python"),
        ("import torch\n", "imports 'torch', so a bundle cannot carry it"),
        ("from atod_sweep.objective import losses\n", "imports 'atod_sweep', so a bundle cannot carry it"),
    ],
)
def test_what_a_bundle_cannot_carry_is_refused(
    study: Path, make_run: MakeRun, tmp_path: Path, more: str, message: str
) -> None:
    (study / "my_ideas.py").write_text(more + IDEAS, encoding="utf-8")
    run = make_run({"best": (objective(), {0: 0.5})})
    with pytest.raises(UserError, match=message):
        bundle.write(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_code_that_has_changed_since_the_run_is_refused(study: Path, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"best": (objective(), {0: 0.5})})
    (study / "my_ideas.py").write_text(IDEAS + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"my_ideas:root: its module has changed since the run.*SHA-256 is"):
        bundle.write(run, tmp_path / "out")
    (study / "my_ideas.py").unlink()
    with pytest.raises(UserError, match="no module 'my_ideas' here"):
        bundle.write(run, tmp_path / "out")


def test_the_current_folder_is_looked_at_as_well(
    study: Path, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the study was started, if nobody put it on the path; the path itself is left alone."""
    run = make_run({"best": (objective(), {0: 0.5})})
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(study)])
    monkeypatch.chdir(study)
    before = list(sys.path)
    out = bundle.write(run, tmp_path / "out")
    assert (out / "custom_my_ideas.py").read_text(encoding="utf-8") == IDEAS
    assert sys.path == before


def test_weights_of_tokens_run_in_the_exported_loss(study: Path, make_run: MakeRun, tmp_path: Path) -> None:
    overrides = objective(turns={"kind": "custom", "path": "workshop.weights:surprise", "weighs": "tokens"})
    run = make_run({"best": (overrides, {0: 0.5})}, record=lambda seed, step: {"turn_weight": [0.5, 0.25, None]})
    out = bundle.write(run, tmp_path / "out", target="pytorch")
    verify(out, trust=True)  # before use: Python lays compiled code beside what it imports
    mask = torch.tensor([[1, 1, 0, 1]])
    student, teacher = torch.tensor([[-1.0, -0.5, 0.0, -9.0]]), -torch.ones(1, 4)
    with modules_of(out, "token_weights") as (module,):
        live, _ = module.token_weights(0, mask, 8, 3, student, teacher)
        replayed, _ = module.token_weights(0, mask, 8, 3)
    assert live.tolist() == [[1.0, 0.5, 0.0, 4.0]]
    assert replayed.tolist() == [[0.5, 0.5, 0.0, 0.25]]


def test_a_signal_of_ones_own_is_carried_where_the_loop_is_ones_own(
    study: Path, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run({"best": (objective(distill={"kind": "custom", "path": "workshop.weights:squares"}), {0: 0.5})})
    out = bundle.write(run, tmp_path / "out", target="all", allow_lossy=True)
    assert [path.name for path in out.glob("README.*.md")] == ["README.pytorch.md"]
    assert (out / "custom_workshop_weights.py").read_text(encoding="utf-8") == WEIGHTS
    verify(out, trust=True)
    with pytest.raises(UserError, match="verl does not know 'a signal of your own'"):
        bundle.write(run, tmp_path / "other", target="verl", allow_lossy=True)


def test_an_export_of_something_else_leaves_no_code_behind(study: Path, make_run: MakeRun, tmp_path: Path) -> None:
    bundle.write(make_run({"best": (objective(), {0: 0.5})}, name="a"), tmp_path / "out")
    assert list((tmp_path / "out").glob("custom_*"))
    bundle.write(make_run({"best": ({"steps": 8}, {0: 0.5})}, name="b"), tmp_path / "out")
    assert not list((tmp_path / "out").glob("custom_*"))
