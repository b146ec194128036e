"""Verbs that write a run's best schedule or student for others, and check what was written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atod_sweep.errors import UserError
from atod_sweep.paths import expanded, written
from atod_sweep.records import layout

if TYPE_CHECKING:
    from atod_sweep.evidence.report.packing import PackedRun


@dataclass(frozen=True)
class ExportedModel:
    """Where an exported student lies, and its version in the model registry if it was entered there."""

    folder: Path
    version: str | None


def export_schedule(
    run_dir: str | Path,
    target: str = "bundle",
    out: str | Path | None = None,
    *,
    steps: int | None = None,
    horizon: int | None = None,
    at: Mapping[str, str] | None = None,
    allow_lossy: bool = False,
) -> Path:
    """Write the best schedule of a run in a form that other trainers can run; returns the folder.

    Args:
        run_dir: folder of the run.
        target: `"bundle"` for the portable files alone, a framework (`"trl"`, …), or `"all"`.
        out: folder to write; default: `RUN/export/TARGET`.
        steps: optimiser steps of the target run; default: the study's.
        horizon: of the target run, in turns; default: the study's.
        at: factor -> level, where schedules differ by level.
        allow_lossy: leave out what the target cannot carry, in place of refusing.

    Raises UserError where no arm can be called best, and for a target that cannot carry the schedule.
    """
    from atod_sweep.export.schedule import bundle

    folder = expanded(run_dir)
    goal = expanded(out) if out else folder / layout.EXPORT / target
    with written(goal):
        return bundle.write(folder, goal, steps, horizon, at or None, target, allow_lossy)


def export_model(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    at: Mapping[str, str] | None = None,
    register: str | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
) -> ExportedModel:
    """Write the best arm's student as a plain Hugging Face directory.

    `out`: default `RUN/export/model`. `register`: name in MLflow's model registry under which it is entered, too;
    `tracking_uri` and `experiment`: where the run is recorded, if not where it was started to be.
    Raises UserError where there is no best arm, or its student is gone.
    """
    from atod_sweep.export.student import model as student
    from atod_sweep.training.loop.standalone import save_standalone

    run = expanded(run_dir)
    goal = expanded(out) if out else run / layout.EXPORT / "model"
    with written(goal):
        folder = student.write(run, goal, save_standalone, at or None)
    if register is None:
        return ExportedModel(folder, None)
    from atod_sweep.sweep.mlflow.model_registry import register as enter
    from atod_sweep.sweep.mlflow.stores import place_of

    return ExportedModel(folder, str(enter(run, folder, register, place_of(run, tracking_uri, experiment))))


def publish(
    folder: str | Path, *, sign: str | Path | None = None, push: str | None = None, dry_run: bool = False
) -> list[str]:
    """Sign an export, upload it to the Hugging Face hub, or both in this order: what was done, line by line.

    `sign`: an elliptic-curve private key (PEM). `push`: a repository, ORG/NAME. `dry_run`: tell what would be uploaded.
    Raises UserError without a usable key, the `sign` extra, or a way to the hub.
    """
    from atod_sweep.export import hub, signing

    path = expanded(folder)
    said = []
    if sign is not None:
        said.append(f"signature        {signing.sign(path, expanded(sign))}")
    if push is not None:
        said += hub.push(path, push, dry_run)
    return said


def pack(run_dir: str | Path, out: str | Path) -> PackedRun:
    """Write what a study publishes of a run into folder `out`: at most 2 MB, and enough to rebuild its report.

    That is the ledger, the study file, configs and evaluations of all trials and every tenth training row (fewer of
    them where that is too much: `.every` says how many), the report, and the best schedule. Paths of the machine, names
    and credentials are taken out. `report`, `load` and `compare` work on `out` as on a run, `export_schedule` too if
    the best arm's trials still had their folders (`.unrecorded` counts those that had none).

    `out`: new, empty, or an earlier pack of the same run. Raises UserError if the run does not fit.
    """
    from atod_sweep.evidence.analysis.reading import load
    from atod_sweep.export.schedule.best import write_best
    from atod_sweep.export.schedule.trace import needed
    from atod_sweep.training import NUMERICS

    def best(folder: Path) -> None:
        with contextlib.suppress(UserError):  # no arm can be called best, which the report says
            write_best(folder)

    run = expanded(run_dir)
    whole = needed(load(run))
    from atod_sweep.evidence.report.packing import pack as write  # brings matplotlib

    return write(run, expanded(out), NUMERICS, whole, best)


def verify(
    folder: str | Path, *, trust: bool = False, digest: str | None = None, key: str | Path | None = None
) -> list[str]:
    """Re-derive everything in a bundle, or check and play an exported model: what was found right, line by line.

    Nothing that the folder names is imported: `trust` runs the code that a bundle brings (`kind: custom`), and plays an
    environment that is not shipped. `digest`: the SHA-256 that the export was announced with. `key`: the public key of
    whoever signed it. Raises UserError on any difference, and for a file that the export did not write.
    """
    from atod_sweep.export import manifest, signing
    from atod_sweep.export.record import PROVENANCE
    from atod_sweep.export.schedule.verify import verify as check
    from atod_sweep.export.student import model

    path = expanded(folder)
    if (path / layout.LEDGER).is_file():
        raise UserError(
            f"{folder}: is a run, not an export; write one with `atod-sweep export {folder}`, then verify "
            f"{path / 'export' / 'bundle'}"
        )
    if not (path / PROVENANCE).is_file():
        what = "holds no export" if path.is_dir() else "no such folder"
        raise UserError(f"{folder}: {what}; give one, for example runs/quickstart/export/bundle")
    signed = [signing.verify(path, expanded(key))] if key is not None else []  # before any of it is believed
    if key is None and (path / manifest.SIGNATURE).is_file():
        signed = ["signed, which nobody has checked: name the public key with --key"]
    if model.is_model(path):
        from atod_sweep.training.loop.trainer import evaluate_student

        return [*model.verify(path, evaluate_student, trust, digest), *signed]
    return [*check(path, trust, digest), *signed]
