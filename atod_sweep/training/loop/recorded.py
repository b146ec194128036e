"""One training with its records in a folder, as a study's trial has them from the study."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from atod_sweep.config.base import dump_yaml
from atod_sweep.config.train import Train
from atod_sweep.envs.look import look
from atod_sweep.errors import UserError
from atod_sweep.paths import written
from atod_sweep.records import layout
from atod_sweep.records.metrics import append_metrics, rewind
from atod_sweep.training.loop import runners
from atod_sweep.training.loop.books import Result, Row
from atod_sweep.training.pretraining import cache as models


def train_into(
    folder: Path, config: Train, resume: bool, say: Callable[[str], None], show: Callable[[Row], None]
) -> Result:
    """Train one student; `folder` gets its config, metrics, checkpoints and the student.

    `say`: told of models that are built; `show`: given every evaluation. UserError if the folder holds
    another training, or with `resume` a finished one.
    """
    metrics, begun = folder / layout.METRICS, False
    if os.environ.get("RANK", "0") == "0":  # under `accelerate launch`, one process keeps the records
        if not resume and metrics.exists():
            raise UserError(f"{folder}: holds a finished or interrupted training; use --resume, or another --out")
        if resume and (folder / layout.STUDENT).exists() and not (folder / layout.CHECKPOINT).exists():
            raise UserError(f"--resume: {folder} holds a finished training, nothing is left to do; use another --out")
        if (folder / layout.LEDGER).exists() or next(folder.glob(f"*/{layout.LEDGER}"), None):
            raise UserError(f"{folder}: holds runs of studies; give the training a folder of its own with --out")
        for line in look([config.env]).notes:
            say(line)
        with written(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / layout.CONFIG).write_text(dump_yaml(config.model_dump(mode="json")), encoding="utf-8")
    folder, metrics = folder.absolute(), metrics.absolute()  # an environment may go to another current folder
    models.ensure(config, say)

    def report(rows: list[Row]) -> None:
        nonlocal begun
        if not begun:  # a resumed training repeats what it reported after its checkpoint
            rewind(metrics, rows)
            begun = True
        append_metrics(metrics, rows)
        for row in rows:
            if row["phase"] == "eval":
                show(row)

    return runners.train(config, folder, report, resume=resume)
