"""Files with one bit wrong, and what a reader makes of them: `FILES` are all that is written now and read later."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from ledger_files import models_row, study_row, trial_row, write_ledger, write_metrics
from safetensors.torch import save_file

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.records import layout, manifest, study_file
from atod_sweep.training.failures import BadCheckpoint
from atod_sweep.training.loop import checkpoint
from atod_sweep.training.pretraining import model_folder

STUDY = b"# a study\nname: small\nseeds: 1\n"
WEIGHTS = "model.safetensors"


class Seen(NamedTuple):
    """How many flips were noticed, how many changed nothing that is read, and the first wrong end ("" if none)."""

    noticed: int
    harmless: int
    wrong: str


def flip_bits(path: Path, reading: Callable[[], str], flips: int, rng: random.Random) -> Seen:
    """Flip bits of the file at `path`, one at a time, drawn by `rng`; the file is as it was afterwards.

    `reading` returns all that is read, or raises UserError: the flip was noticed. Any other exception is a wrong end.
    """
    whole, truth = path.read_bytes(), reading()
    noticed = harmless = 0
    wrong = ""
    for _ in range(flips):
        at, bit = rng.randrange(len(whole)), rng.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        try:
            seen = reading()
        except UserError as error:
            noticed += 1
            said = f"refused in several lines: {error}" if "\n" in str(error) else ""
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        else:
            harmless += seen == truth
            said = "" if seen == truth else f"read as {seen[:200]}"
        wrong = wrong or (said and f"{path.name}, byte {at}, bit {bit}: {said}")
    path.write_bytes(whole)
    return Seen(noticed, harmless, wrong)


def _run(place: Path) -> Path:
    run = place / "small"
    (run / "trials" / "slow-s0").mkdir(parents=True)
    (run / layout.STUDY).write_bytes(STUDY)
    ended = trial_row("slow", 0, "COMPLETE", metrics={"eval/success": 0.5})
    vouched = study_row(file_sha256=study_file.fingerprint(STUDY))
    write_ledger(run, [vouched, models_row(), trial_row("slow"), ended, trial_row("fast")])
    write_metrics(
        run / "trials" / "slow-s0" / "metrics.jsonl",
        [{"phase": "eval", "step": i, "eval/success": i / 4} for i in range(3)],
    )
    return run


def read_run(run: Path) -> str:
    """All that a run's folder says."""
    found = load(run)
    definition = study_file.read(run / layout.STUDY, found.ledger)
    return json.dumps([found.ledger, definition, [trial.rows for trial in found.trials]])


def _checkpoint(place: Path) -> Path:
    tensors = {"optimiser": {"state": {0: {"step": torch.tensor(4.0)}}}}
    found = checkpoint.Checkpoint(4, {"w": torch.arange(6.0)}, tensors, {"rows": [{"step": 4}]})
    checkpoint.save(place / "checkpoint", found, "mine")
    return place / "checkpoint" / "step-000004"


def _read_checkpoint(path: Path) -> str:
    try:
        found = checkpoint.load_newest(path.parent, "mine", torch.device("cpu"), lambda _: None)
    except BadCheckpoint as error:  # what the trial fails with
        raise UserError(str(error)) from None
    return repr(found)


def _model(place: Path) -> Path:
    folder = place / "student-0123"
    folder.mkdir()
    save_file({"w": torch.arange(6.0)}, folder / WEIGHTS)
    (folder / layout.RECIPE).write_text(json.dumps({"success": 0.5, "seconds": 1.0}))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}}}))
    manifest.write(folder)
    return folder


def _read_model(folder: Path) -> str:
    model_folder._checked.discard(folder)  # as in a process that has not looked yet
    if problem := model_folder.problem(folder):
        raise UserError(problem)
    return (folder / WEIGHTS).read_bytes().hex() + json.dumps(model_folder.recipe(folder))


class File(NamedTuple):
    """A file in a folder that `make` makes below another, and `read` reads whole."""

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], str]


FILES = {
    "a run's ledger": File(layout.LEDGER, _run, read_run),
    "a run's study file": File(layout.STUDY, _run, read_run),
    "a trial's metrics": File("trials/slow-s0/metrics.jsonl", _run, read_run),
    "a checkpoint's optimiser": File("optimiser.pt", _checkpoint, _read_checkpoint),
    "a checkpoint's state": File("state.json", _checkpoint, _read_checkpoint),
    "a checkpoint's weights": File(WEIGHTS, _checkpoint, _read_checkpoint),
    "a checkpoint's manifest": File(manifest.NAME, _checkpoint, _read_checkpoint),
    "a cached model's weights": File(WEIGHTS, _model, _read_model),
    "a cached model's manifest": File(manifest.NAME, _model, _read_model),
    "a cached model's recipe": File(layout.RECIPE, _model, _read_model),
    "a cached model's tokenizer": File("tokenizer.json", _model, _read_model),
}
