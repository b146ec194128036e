"""The bundle: complete, verifiable from its own files, and honest about what is replayed."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_files import read_ledger, write_ledger

from atod_sweep.config.base import load_yaml
from atod_sweep.config.train import Train, model_key
from atod_sweep.errors import UserError
from atod_sweep.export import manifest
from atod_sweep.export.schedule import bundle
from atod_sweep.export.schedule.verify import verify

MakeRun = Callable[..., Path]
COSINE = {
    "steps": 12,
    "env.horizon": 4,
    "objective.turns": {"kind": "thresholds", "early_turns": 1, "late_turns": 1},
    "objective.kl_penalty": {"kind": "k2", "coef": 0.02},
}
MEASURED = {
    "steps": 6,
    "env.horizon": 3,
    "objective.distill_weight": {"kind": "adaptive"},
    "objective.turns": {"kind": "product"},
    "objective.kl_penalty": {"kind": "k3", "coef": {"kind": "target_kl"}},
}


def recorded(seed: int, step: int) -> dict[str, Any]:
    """A run whose weights fall by steps; the last turn was never reached on the first step."""
    turns = [0.5, 0.25, None if step == 0 else 0.125 * (1 + seed)]
    return {"weight/distill": 1.0 - 0.1 * step - 0.05 * seed, "weight/kl": 0.01 * (1 + step), "turn_weight": turns}


@pytest.fixture
def written(make_run: MakeRun, tmp_path: Path) -> Path:
    run = make_run({"cosine": (COSINE, {0: 0.6, 1: 0.7})}, name="quick")
    return bundle.write(run, tmp_path / "bundle")


@pytest.fixture
def measured(make_run: MakeRun, tmp_path: Path) -> Path:
    run = make_run({"careful": (MEASURED, {0: 0.6, 1: 0.7})}, record=recorded)
    return bundle.write(run, tmp_path / "bundle")


def test_files_and_verify(written: Path) -> None:
    names = {"schedule.yaml", "schedule.json", "schedule.csv", "schedule.py", "provenance.json", "README.md"}
    assert {path.name for path in written.iterdir()} == {*names, "attestation.intoto.json", "manifest.sha256"}
    assert verify(written) == [
        "6 files are what schedule.yaml and provenance.json give",
        "schedule.json, schedule.csv and schedule.py agree with the trainer at 12 steps x 4 turns to 1e-12",
        f"sha256 {manifest.digest_of(written)}: the same as the export said, if nobody exchanged it",
    ]


def test_table_by_hand(written: Path) -> None:
    """Cosine 1 -> 0.1 over 80/150 of 12 steps = 6.4 steps; turns 0.9, linear, linear, 0.1."""
    with (written / "schedule.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert list(rows[0]) == (
        ["step", "progress", "temperature", "beta_kl"]
        + [f"distill_turn_{k}" for k in range(4)]
        + [f"reward_turn_{k}" for k in range(4)]
    )
    third = rows[3]
    teacher = 0.1 + 0.9 * (1 + math.cos(math.pi * 3 / 6.4)) / 2
    assert float(third["progress"]) == 0.25
    assert float(third["beta_kl"]) == 0.02
    assert float(third["distill_turn_0"]) == pytest.approx(0.9 * teacher, abs=1e-12)
    assert float(third["distill_turn_1"]) == pytest.approx((0.9 - 0.8 / 3) * teacher, abs=1e-12)
    assert float(third["reward_turn_3"]) == pytest.approx(1 - 0.1 * teacher, abs=1e-12)
    data = json.loads((written / "schedule.json").read_text(encoding="utf-8"))
    assert data["turn_progress"] == [0.0, 0.25, 0.5, 0.75]
    assert [row["distill"][2] for row in data["rows"]] == [float(row["distill_turn_2"]) for row in rows]


def test_provenance(written: Path) -> None:
    record = json.loads((written / "provenance.json").read_text(encoding="utf-8"))
    assert (record["study"], record["arm"], record["git"]) == ("quick", "cosine", "319a3db")
    assert record["scores"] == {"0": 0.6, "1": 0.7}
    assert record["result"]["mean"] == pytest.approx(0.65)
    assert record["models"] == {"teacher": {"digest": "aaaa"}, "student": {"digest": "bbbb"}}
    assert record["run_date"] == "2026-11-20"
    assert record["run"] == record["exported"] == {"steps": 12, "horizon": 4}
    assert [trial["id"] for trial in record["trials"]] == ["cosine-s0", "cosine-s1"]


@pytest.mark.parametrize(("known", "want"), [(True, {"teacher": {"digest": "cccc"}}), (False, {})])
def test_provenance_names_the_models_of_the_exported_config_or_none(
    make_run: MakeRun, tmp_path: Path, known: bool, want: dict[str, dict[str, str]]
) -> None:
    run = make_run({"cosine": (COSINE, {0: 0.6})})
    config = Train.model_validate(load_yaml(run / "trials" / "cosine-s0" / "config.yaml")).model_dump(mode="json")
    study, *trials = read_ledger(run)
    key = model_key(config) if known else "of an older config"
    pairs = {"another": {"teacher": {"digest": "aaaa"}}, key: {"teacher": {"digest": "cccc"}, "student": None}}
    write_ledger(run, [{**study, "pairs": pairs}, *trials])
    written = bundle.write(run, tmp_path / "bundle")
    assert json.loads((written / "provenance.json").read_text("utf-8"))["models"] == want


def test_a_teacher_behind_an_api_is_known_by_its_name(make_run: MakeRun, tmp_path: Path) -> None:
    teacher = {"kind": "chat", "url": "http://127.0.0.1:9/v1", "model": "gpt"}
    arm = {**COSINE, "teacher": teacher, "objective.distill": {"kind": "relabel"}}
    written = bundle.write(make_run({"cosine": (arm, {0: 0.6, 1: 0.7})}), tmp_path / "bundle")
    record = json.loads((written / "provenance.json").read_text(encoding="utf-8"))
    assert record["models"]["teacher"] == {"api": "chat", "model": "gpt"}
    assert "teacher `gpt` behind an API" in (written / "README.md").read_text(encoding="utf-8")
    verify(written)


def test_one_seed_has_no_interval(make_run: MakeRun, tmp_path: Path) -> None:
    written = bundle.write(make_run({"cosine": (COSINE, {0: 0.6})}), tmp_path / "bundle")
    text = (written / "provenance.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["result"]["low"] is None
    verify(written)


def test_verdicts_travel(make_run: MakeRun, tmp_path: Path) -> None:
    claim = {"arm": "a", "relation": ">", "other": "b", "metric": "eval/success", "at": {}, "margin": 0.0}
    arms = {"a": (COSINE, {0: 0.6, 1: 0.7, 2: 0.8}), "b": (COSINE, {0: 0.1, 1: 0.21, 2: 0.3})}
    written = bundle.write(make_run(arms, hypotheses=[claim]), tmp_path / "bundle")
    record = json.loads((written / "provenance.json").read_text(encoding="utf-8"))
    assert [(v["claim"], v["outcome"]) for v in record["verdicts"]] == [("a > b", "supported")]
    assert "a > b: supported" in (written / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["schedule.yaml", "schedule.json", "schedule.csv", "schedule.py", "provenance.json", "README.md"]
)
def test_any_change_is_found(written: Path, name: str) -> None:
    path = written / name
    text = path.read_text(encoding="utf-8")
    changed = {
        "schedule.yaml": ("steps: 12", "steps: 13"),
        "schedule.json": ('"beta_kl": 0.02', '"beta_kl": 0.021'),
        "schedule.csv": (",0.02,", ",0.0200001,"),
        "schedule.py": ("return start * (1.0 - p)", "return start * (1.1 - p)"),
        "provenance.json": ('"arm": "cosine"', '"arm": "linear"'),
        "README.md": ("Not tested on", "Tested on"),
    }[name]
    assert changed[0] in text
    path.write_text(text.replace(*changed, 1), encoding="utf-8")
    with pytest.raises(UserError) as error:
        verify(written)
    assert "\n" not in str(error.value)
    if name != "provenance.json":  # what it vouches for elsewhere no longer fits: the card's text is named
        assert name in str(error.value)


@pytest.mark.parametrize("name", ["schedule.yaml", "schedule.csv", "schedule.py", "provenance.json", "README.md"])
def test_missing_file_is_found(written: Path, name: str) -> None:
    (written / name).unlink()
    with pytest.raises(UserError, match=name):
        verify(written)


@pytest.mark.parametrize(
    ("name", "text"), [("schedule.json", "{"), ("schedule.csv", "step\n1\n"), ("provenance.json", "[]")]
)
def test_garbage_is_found(written: Path, name: str, text: str) -> None:
    (written / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=name):
        verify(written)


def test_rescaled_is_said(make_run: MakeRun, tmp_path: Path) -> None:
    written = bundle.write(make_run({"cosine": (COSINE, {0: 0.6, 1: 0.7})}), tmp_path / "bundle", steps=24, horizon=8)
    verify(written)
    text = " ".join((written / "README.md").read_text(encoding="utf-8").split())
    assert "rescaled from 12 steps and 4 turns to 24 steps and 8 turns, and not run at that size" in text
    rows = json.loads((written / "schedule.json").read_text(encoding="utf-8"))["rows"]
    assert (len(rows), len(rows[0]["distill"])) == (24, 8)


def test_measured_parts_come_as_rule_and_as_trace(measured: Path) -> None:
    assert {"controllers.py", "turn_weights.py", "trace_open_loop.csv"} < {path.name for path in measured.iterdir()}
    verify(measured)
    data = json.loads((measured / "schedule.json").read_text(encoding="utf-8"))
    assert data["open_loop"] == ["distill", "beta_kl", "turns"]
    # Means over two seeds: lambda 1 - 0.1 s - 0.025; turn 2 only where it was reached, 0.1875.
    assert data["rows"][2]["distill"] == pytest.approx([0.775 * 0.5, 0.775 * 0.25, 0.775 * 0.1875], abs=1e-12)
    assert data["rows"][0]["distill"][2] == 0.0
    assert data["rows"][2]["beta_kl"] == pytest.approx(0.03, abs=1e-12)
    assert "open loop" in (measured / "README.md").read_text(encoding="utf-8").lower()


def test_changed_trace_is_found(measured: Path) -> None:
    path = measured / "trace_open_loop.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("0.775", "0.875"), encoding="utf-8")
    with pytest.raises(UserError, match=r"trace_open_loop.csv: is not the file"):
        verify(measured)
    path.unlink()
    with pytest.raises(UserError, match="holds no trace of 'distill'"):
        verify(measured)


def test_trace_with_a_hole(make_run: MakeRun, tmp_path: Path) -> None:
    def torn(seed: int, step: int) -> dict[str, Any]:
        return {} if step == 3 else recorded(seed, step)

    run = make_run({"careful": (MEASURED, {0: 0.6})}, record=torn)
    with pytest.raises(UserError, match=r"careful-s0: its record holds 'weight/distill' for 5 of 6 steps"):
        bundle.write(run, tmp_path / "bundle")


def test_bundle_moves(written: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(written, tmp_path / "elsewhere"))
    assert verify(moved) == verify(written)
