"""What a study publishes of a run: whether it tells the same as the run, and nothing of the machine."""

from __future__ import annotations

import getpass
import gzip
import os
import platform
import shutil

import pytest
from claim_ledgers import write_claims
from no_mlflow import NoMlflow
from run_files import write_run
from tiny_study import BASE
from trained_run import write_trained

import atod_sweep as atod
from atod_sweep.config.files import flatten
from atod_sweep.errors import UserError
from atod_sweep.evidence.report import packing
from atod_sweep.records import layout, ledger
from atod_sweep.records.metrics import append_metrics


def _texts(folder):
    """Every text file of a packed run by its name."""
    found = {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.suffix not in (".png", ".gz")}
    found[layout.PACKED] = gzip.decompress((folder / layout.PACKED).read_bytes())
    return {name: data.decode() for name, data in found.items()}


@pytest.mark.usefixtures("blank_pictures")
def test_a_packed_study_tells_what_the_run_does_and_nothing_of_the_machine(tiny, tmp_path):
    out = tmp_path / "published" / "tiny"
    packed = atod.pack(tiny.folder, out)
    assert packed.every == 10
    assert packed.unrecorded == 0
    assert packed.size == sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) <= packing.LIMIT
    assert sorted(path.name for path in out.iterdir()) == [
        "best_schedule.yaml",
        "figures",
        "ledger.jsonl",
        "report.md",
        "study.yaml",
        "tables",
        "trials.jsonl.gz",
    ]
    texts = _texts(out)
    private = [
        str(tiny.folder.parent.parent),
        "somewhere",
        "hush-hush",
        os.path.expanduser("~/"),
        f"/{getpass.getuser()}/",
    ]
    private += [os.getcwd(), "/tmp", platform.node() + ":", "mlflow.db"]
    assert not {(name, word) for name, text in texts.items() for word in private if word in text}

    before = (out / "report.md").read_bytes()
    figures = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    moved = tmp_path / "elsewhere"  # it needs nothing but itself
    shutil.copytree(out, moved)
    atod.report(moved)
    assert (moved / "report.md").read_bytes() == before
    assert all((moved / "figures" / name).read_bytes() == data for name, data in figures.items())

    again = atod.load(moved)
    assert again.verdicts.equals(tiny.verdicts)
    assert again.curves.equals(tiny.curves)
    assert again.arms.equals(tiny.arms)
    assert again.trials.equals(tiny.trials)
    assert "+0.000" in atod.compare([tiny.folder, moved])
    text = (out / "best_schedule.yaml").read_text()
    assert text == (tiny.folder / "best_schedule.yaml").read_text()


@pytest.mark.usefixtures("blank_pictures")
def test_its_schedule_is_exported_as_the_runs_own_also_where_every_step_counts(tiny, tmp_path):
    """T-DUR weights follow measurements: the bundle holds what was applied at every step."""
    run = write_trained(tmp_path / "runs" / "adaptive", {**_flat(BASE), "steps": 12}, "measured", [0])
    for folder in (run, tiny.folder):
        packed = atod.pack(folder, tmp_path / "out" / folder.name).folder
        a, b = (
            atod.export_schedule(one, out=tmp_path / side / folder.name) for one, side in ((folder, "a"), (packed, "b"))
        )
        atod.verify(b)
        for name in ("schedule.yaml", "schedule.csv", "schedule.json", "schedule.py"):
            assert (a / name).read_bytes() == (b / name).read_bytes()
    assert "trace_open_loop.csv" in {path.name for path in (tmp_path / "b" / "adaptive").iterdir()}


def _flat(base):
    return flatten({key: value for key, value in base.items() if key != "base"})


@pytest.mark.usefixtures("blank_pictures")
def test_a_packed_run_is_not_one_to_go_on_with(tiny, tmp_path):
    out = atod.pack(tiny.folder, tmp_path / "tiny").folder
    for verb in (atod.resume, atod.export_model, atod.sync, lambda run: atod.pack(run, tmp_path / "again")):
        with pytest.raises(UserError, match=r"is a packed run, which cannot be .*; use the folder in which"):
            verb(out)
    (out / layout.STUDY).unlink()  # as in packs of runs from before their study file was kept
    with pytest.raises(UserError, match="is a packed run, which cannot be resumed"):
        atod.resume(out)


@pytest.mark.slow
def test_a_packed_search_tells_what_the_search_does(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setattr("atod_sweep.sweep.session.Background", NoMlflow)
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))
    space = {
        "name": "looking",
        "question": "Which rate?",
        "base": BASE,
        "parameters": {"optimiser.lr": {"float": [0.001, 0.02]}},
        "sampler": {"kind": "random"},
        "budget": {"configurations": 3, "seeds": 1, "confirm": {"top": 1, "seeds": 2}},
    }
    run = atod.search(space, out=tmp_path / "runs", backend="local", verbosity=-1)
    assert run.ok
    out = atod.pack(run.folder, tmp_path / "out").folder
    before = (out / "report.md").read_bytes()
    atod.report(out)
    assert (out / "report.md").read_bytes() == before
    again = atod.load(out)
    assert {name: str(rows) for name, rows in again.tables.items()} == {name: str(t) for name, t in run.tables.items()}
    a, b = (
        [row for trial in one.results.explored for row in trial.rows if row["phase"] == "eval"] for one in (run, again)
    )
    assert a == b != []
    assert str(tmp_path) not in "".join(_texts(out).values())


# ---- size ----------------------------------------------------------------------------------------------------------


def test_what_is_too_large_is_thinned_further_and_what_still_is_is_refused(tmp_path, monkeypatch):
    noise = {s: str(hash((s, "x"))) for s in range(240)}
    run = write_run(
        tmp_path / "run",
        {"a": ({"steps": 240}, {0: 0.5, 1: 0.6}), "b": ({"steps": 240}, {0: 0.4, 1: 0.3})},
        record=lambda seed, step: {"loss": float(noise[step]) / 7, "weight/distill": float(noise[step][-4:])},
    )
    whole = atod.pack(run, tmp_path / "a")
    assert whole.every == 10
    monkeypatch.setattr(packing, "LIMIT", whole.size - 1)
    smaller = atod.pack(run, tmp_path / "b")
    assert smaller.every == 50
    assert smaller.size < whole.size
    steps = [row["step"] for row in atod.load(tmp_path / "b").results.find("a", {}, 0).rows]
    assert steps == [0, 50, 100, 150, 200, 239]
    assert "training at every 50th step" in (tmp_path / "b" / "report.md").read_text()
    monkeypatch.setattr(packing, "LIMIT", 10_000)
    with pytest.raises(
        UserError, match=r"does not fit into 0.01 MB even with the fewest training rows \(.*ledger.jsonl"
    ):
        atod.pack(run, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "run"]


# ---- folders -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("blank_pictures")
def test_an_earlier_pack_of_the_run_is_replaced_and_what_else_lies_there_stays(tmp_path):
    run = write_claims(tmp_path / "run", {"a": [0.5, 0.6], "b": [0.4, 0.3]})
    out = atod.pack(run, tmp_path / "out").folder
    (out / "NOTES.md").write_text("by hand")
    (out / "figures" / "old.png").write_text("x")
    atod.report(out)
    atod.pack(run, out)
    assert (out / "NOTES.md").read_text() == "by hand"
    assert not (out / "figures" / "old.png").exists()
    assert not (out / "report.html").exists()


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("what", ["file", "folder", "other run"])
def test_nothing_else_is_written_over(tmp_path, what):
    run, out = write_claims(tmp_path / "run", {"a": [0.5], "b": [0.4]}), tmp_path / "out"
    match what:
        case "file":
            out.write_text("mine")
        case "folder":
            out.mkdir()
            (out / "mine").write_text("mine")
        case "other run":
            atod.pack(write_claims(tmp_path / "other", {"a": [0.5], "b": [0.4]}), out)
    with pytest.raises(UserError, match="out: exists and is not an earlier pack of this run"):
        atod.pack(run, out)


@pytest.mark.usefixtures("blank_pictures")
def test_trials_without_records_are_counted(tmp_path):
    run = write_claims(tmp_path / "run", {"a": [0.5, 0.6], "b": [0.4, 0.3]})
    trial = next(iter(ledger.fold(ledger.read(run)).trials))
    (run / "trials" / trial).mkdir(parents=True, exist_ok=True)
    append_metrics(run / "trials" / trial / "metrics.jsonl", [{"phase": "eval", "step": 0, "eval/success": 0.2}])
    assert atod.pack(run, tmp_path / "out").unrecorded == 3
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "- **Records**: packed: evaluations in full, training at every 10th step; none of 3 trials" in text
