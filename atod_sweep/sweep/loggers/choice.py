"""Homes of runs beside their folders: MLflow, and on request W&B and TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from atod_sweep.config.told import nearest
from atod_sweep.errors import UserError
from atod_sweep.records.ledger_rows import StudyRow
from atod_sweep.sweep.loggers import tensorboard, wandb
from atod_sweep.sweep.loggers.contract import Logger
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.stores import EXPERIMENT, check, is_installed, place_of, placed
from atod_sweep.sweep.work import Site

Maker = Callable[[Path, StudyRow], Logger]

# name -> what makes one, and what refuses before anything runs where it cannot work here
LOGGERS: dict[str, tuple[Maker, Callable[[], None]]] = {
    "wandb": (wandb.WandB, wandb.check),
    "tensorboard": (tensorboard.TensorBoard, tensorboard.check),
}


def checked(names: Sequence[str], known: Sequence[str] = tuple(LOGGERS)) -> tuple[str, ...]:
    """The loggers of these names, each once. UserError, with all that are `known`, for one that is unknown or cannot
    work here."""
    for name in names:
        if name not in LOGGERS:
            also = " (MLflow is written to in any case)" if name == "mlflow" else ""
            raise UserError(f"--logger {name!r}: unknown; {nearest(name, known)}{also}")
        LOGGERS[name][1]()
    return tuple(dict.fromkeys(names))


def settled(run_dir: Path, site: Site) -> Site:
    """With what the environment says of MLflow, so that the ledger tells it to who resumes.

    UserError where a logger is unknown or cannot work here.
    """
    where = placed(run_dir.parent, site.tracking_uri, site.experiment)
    if site.tracking_uri is not None or (is_installed() and not where.is_usual):
        check(where)
    return replace(
        site,
        tracking_uri=None if where.is_usual else where.uri,
        experiment=where.experiment if where.experiment != EXPERIMENT else None,
        loggers=checked(site.loggers or ()) or None,
    )


def made(
    name: str, run_dir: Path, tracking_uri: str | None, experiment: str | None, say: Callable[[str], None]
) -> Callable[[StudyRow], Logger]:
    """What makes the logger of a run that is there. UserError for one that is unknown or cannot work here."""
    if name != "mlflow":
        maker = LOGGERS[checked([name], ("mlflow", *LOGGERS))[0]][0]
        return lambda study: maker(run_dir, study)
    place = place_of(run_dir, tracking_uri, experiment)
    check(place)
    return lambda study: Mirror(place, run_dir, study, say, anew=True)
