"""An export that came from somewhere: whatever was done to it is one line, and nothing that it names is run."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atod_sweep import api
from atod_sweep.errors import UserError
from atod_sweep.export import attestation, manifest
from atod_sweep.export.record import dump
from atod_sweep.export.schedule import bundle
from atod_sweep.export.student import model
from atod_sweep.export.student.model_card import model_card

OLD = Path(__file__).parent / "old_bundle"
COSINE = {"steps": 12, "env.horizon": 4, "objective.turns": {"kind": "thresholds", "early_turns": 1, "late_turns": 1}}


@pytest.fixture
def written(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    run = make_run({"cosine": (COSINE, {0: 0.6, 1: 0.7}), "linear": (COSINE, {0: 0.1, 1: 0.2})}, question="Qué?")
    return bundle.write(run, tmp_path / "bundle", target="all")


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        api.verify(folder, **options)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def edit(folder: Path, **changes: Any) -> None:
    """Change the record, and everything that vouches for it."""
    path = folder / "provenance.json"
    path.write_text(dump(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    vouch(folder)


def vouch(folder: Path) -> None:
    names = [p.name for p in folder.iterdir() if p.name not in (manifest.FILE_NAME, attestation.FILE_NAME)]
    with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):  # of a record that is none
        attestation.write(folder, json.loads((folder / "provenance.json").read_text(encoding="utf-8")), names)
    manifest.write(folder, [p.name for p in folder.iterdir() if p.name != manifest.FILE_NAME])


def test_every_changed_byte_of_every_file_is_noticed(written: Path) -> None:
    rng = random.Random(0)
    tried = 0
    for path in sorted(written.iterdir()):
        good = path.read_bytes()
        for place in sorted({0, len(good) - 1, *rng.choices(range(len(good)), k=1)}):
            for change in (bytes([good[place] ^ 1 << rng.randrange(8)]), b"", b" " + good[place : place + 1]):
                path.write_bytes(good[:place] + change + good[place + 1 :])
                assert refused(written)
                tried += 1
        path.write_bytes(good)
    assert tried > 100
    assert len(api.verify(written)) == 3


@pytest.mark.parametrize("folder", ["new", "old"])
def test_converted_line_ends_are_noticed_and_named(folder: str, written: Path, tmp_path: Path) -> None:
    if folder == "old":
        written = shutil.copytree(OLD, tmp_path / "old")
    for path in written.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    refused(written)
    vouch(written)  # also where the converter went over the manifest
    assert "schedule.yaml: is not the file" in (said := refused(written)) or "provenance.json" in said
    one = shutil.copytree(OLD, tmp_path / "one")
    for name in ("schedule.yaml", "schedule.csv", "schedule.py", "README.md"):
        good = (one / name).read_bytes()
        (one / name).write_bytes(good.replace(b"\n", b"\r\n"))
        assert "its line ends were converted" in refused(one)
        (one / name).write_bytes(good)


@pytest.mark.slow
def test_exports_from_before_there_was_a_manifest_verify_with_a_remark(tmp_path: Path) -> None:
    assert api.verify(OLD)[2] == "made before exports had a manifest: nothing vouches for provenance.json itself"
    copy = shutil.copytree(OLD, tmp_path / "old")
    rng = random.Random(1)
    for path in sorted(copy.iterdir()):
        good = path.read_bytes()
        for place in rng.choices(range(len(good)), k=6):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << rng.randrange(8)]) + good[place + 1 :])
            # most of the record is in the card, not all; the last digits of a table are free
            if path.name in ("provenance.json", "schedule.json", "schedule.csv"):
                try:
                    api.verify(copy)
                except UserError as error:
                    assert "\n" not in str(error)  # noqa: PT017
            else:
                refused(copy)
        path.write_bytes(good)


STRANGERS: dict[str, Callable[[Path], Any]] = {
    "a module": lambda folder: (folder / "torch.py").write_text("raise SystemExit"),
    "compiled code that Python prefers": lambda folder: (
        (folder / "__pycache__").mkdir(),
        (folder / "__pycache__" / "schedule.cpython-311.pyc").write_bytes(b"x"),
    ),
    "hidden": lambda folder: (folder / ".env").write_text("A=1"),
    "a link out": lambda folder: (folder / "link").symlink_to("/etc"),
    "a link in the place of a file": lambda folder: (
        (folder / "README.md").rename(folder.parent / "README.md"),
        (folder / "README.md").symlink_to(folder.parent / "README.md"),
    ),
}


@pytest.mark.parametrize("case", STRANGERS)
@pytest.mark.parametrize("age", ["new", "old"])
def test_what_the_export_did_not_write_is_noticed(case: str, age: str, written: Path, tmp_path: Path) -> None:
    if age == "old":
        written = shutil.copytree(OLD, tmp_path / "old")
    STRANGERS[case](written)
    assert "holds what the export did not write" in refused(written)


DAMAGE: dict[str, tuple[str, bytes, str]] = {
    "no UTF-8": ("provenance.json", b'{"a": "\xff"}', "is not UTF-8 text (byte 7)"),
    "no UTF-8 in a text": ("README.md", b"\xfe\xff", "is not UTF-8 text"),
    "no UTF-8 in YAML": ("schedule.yaml", b"a: \xff", "UTF-8"),
    "no UTF-8 in the trace": ("schedule.csv", b"\xff", "is not UTF-8 text"),
    "half a JSON": ("provenance.json", b'{"format": "atod', "not valid JSON"),
    "deep JSON": ("provenance.json", b"[" * 100_000, "not valid JSON"),
    "a huge number": ("provenance.json", b"9" * 10_000, "not valid JSON"),
    "a list": ("provenance.json", b"[]\n", "is not as an export writes it"),
    "no table": ("schedule.json", b"[" * 100_000, "cannot be read as a table"),
    "a wide field": ("schedule.csv", b'"' + b"a" * 200_000 + b'"\n1\n', "schedule.csv"),
    "an empty manifest": ("manifest.sha256", b"", "is not as the export wrote it"),
    "a manifest of another kind": ("manifest.sha256", b"\xff\n", "is not as the export wrote it"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_line(case: str, written: Path) -> None:
    name, content, said = DAMAGE[case]
    (written / name).write_bytes(content)
    assert said in refused(written)


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown target": ({"targets": ["trl", "jax"]}, "names the target 'jax', which is not known here; known: pytorch"),
    "targets that are no names": ({"targets": [["trl"]]}, "names the target ['trl']"),
    "no result": ({"result": None}, "does not hold what an export records"),
    "words for numbers": ({"scores": {"0": "good"}}, "does not hold what an export records"),
    "a number beyond all": ({"start": 10**400}, "does not hold what an export records"),
    "inputs that are none": ({"inputs": ["schedule.yaml"]}, "names no 'inputs'"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_that_was_edited_along_with_its_manifest(case: str, written: Path) -> None:
    changes, said = RECORDS[case]
    edit(written, **changes)
    assert said in refused(written)


def test_a_manifest_cannot_be_dropped(written: Path) -> None:
    (written / manifest.FILE_NAME).unlink()
    assert "manifest.sha256: is missing" in refused(written)


def test_a_digest_tells_an_export_that_was_exchanged(written: Path, make_run: Callable[..., Path]) -> None:
    digest = manifest.digest_of(written)
    assert digest is not None
    row = json.loads((written.parent / "study" / manifest.EXPORTS).read_text(encoding="utf-8"))
    assert (row["digest"], row["folder"]) == (digest, str(written))
    assert f"sha256           {digest}" in bundle.lines(written)
    assert api.verify(written, digest=digest.upper())[2] == f"sha256 {digest}, as given"
    other = make_run({"cosine": (COSINE, {0: 0.9, 1: 0.9})}, name="other")
    bundle.write(other, written)
    assert "this is another export" in refused(written, digest=digest)
    assert "cannot be compared" in refused(OLD, digest=digest)


def test_a_schedule_of_endless_steps_is_not_derived(written: Path) -> None:
    path = written / "schedule.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("steps: 12", "steps: 99999999999", 1), encoding="utf-8")
    assert "schedule.yaml: is not the file" in refused(written)
    edit(written, inputs={})
    assert "holds 12 steps, the schedule has 99999999999" in refused(written)


def test_a_folder_that_is_no_export_is_told_what_to_give(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run({"cosine": (COSINE, {0: 0.6})})
    assert f"is a run, not an export; write one with `atod-sweep export {run}`" in refused(run)
    assert "holds no export; give one, for example runs/quickstart/export/bundle" in refused(tmp_path)
    assert "no such folder" in refused(tmp_path / "nowhere")
    assert "holds no export" in refused(run / "trials")


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def received(written: Path, tmp_path: Path) -> Path:
    """The export of a student, of files that are none; playing it is a matter of `evaluate`."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    record = json.loads((written / "provenance.json").read_text(encoding="utf-8"))
    student = {"kind": "compact"}
    config = {"student": student, "evaluation": {"temperature": 0.4, "tasks": 8}, "env": {"id": "support_desk"}}
    config["objective"] = {"kind": "interpolated"}
    record["model"] = {
        **{"trial": "cosine-s0", "seed": 0, "chosen": "the only one", "score": 0.5, "eval/success": 0.5},
        **{"config": config, "stop_strings": [], "files": {"config.json": manifest.sha256(folder / "config.json")}},
    }
    seal(folder, record)
    return folder


def seal(folder: Path, record: dict[str, Any]) -> None:
    (folder / "provenance.json").write_text(dump(record), encoding="utf-8")
    (folder / "README.md").write_text(model_card(record), encoding="utf-8")
    vouch(folder)


def amend(folder: Path, **config: Any) -> None:
    record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    record["model"]["config"] |= config
    seal(folder, record)


def play(config: Any, folder: Path) -> dict[str, float]:
    return {"eval/success": 0.5}


@pytest.mark.parametrize(
    "env", ["evil:Env", "evil:Env-v0", "CartPole-v1", "atod_sweep.envs.families.planner:Planner", "support_desk:x"]
)
def test_a_model_s_own_environment_is_played_on_trust_only(env: str, received: Path) -> None:
    assert model.verify(received, play)[1] == "success 0.5000 on 8 tasks, as recorded"
    amend(received, env={"id": env})
    with pytest.raises(UserError, match=r"it plays .*, which is not shipped: look at that code") as error:
        model.verify(received, lambda *_: pytest.fail("played"))
    assert "\n" not in str(error.value)
    assert len(model.verify(received, play, trust=True)) == 3


def test_a_model_s_custom_code_is_not_run_to_read_its_config(received: Path) -> None:
    amend(received, objective={"kind": "interpolated", "distill_weight": {"kind": "custom", "path": "antigravity:fly"}})
    with pytest.raises(UserError, match="stands without the SHA-256 of its module"):
        model.verify(received, play)


@pytest.mark.parametrize("config", [None, [], {"student": {"kind": "compact"}}, {"student": None}])
def test_a_model_s_damaged_record_is_one_line(config: Any, received: Path) -> None:
    record = json.loads((received / "provenance.json").read_text(encoding="utf-8"))
    record["model"]["config"] = config
    (received / "provenance.json").write_text(dump(record), encoding="utf-8")
    vouch(received)
    with pytest.raises(UserError) as error:
        model.verify(received, play)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("success", ["high", None, 7.0, float("nan")])
def test_a_recorded_success_that_is_none(success: Any, received: Path) -> None:
    record = json.loads((received / "provenance.json").read_text(encoding="utf-8"))
    record["model"]["eval/success"] = success
    (received / "provenance.json").write_text(dump(record), encoding="utf-8")
    vouch(received)
    with pytest.raises(UserError) as error:
        model.verify(received, play)
    assert "\n" not in str(error.value)
