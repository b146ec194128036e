"""The export of a trial's own schedule to TRL, and the trainer class in it: the code that `export --to trl` writes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atod_sweep.config.train import Train
from atod_sweep.export.schedule import generate, own_code
from atod_sweep.export.schedule.schedule_file import from_train
from atod_sweep.export.schedule.trace import Trace
from atod_sweep.export.targets.trl import TARGET, config


def arguments(train: Train) -> dict[str, Any]:
    """The arguments of GRPOConfig that the export sets."""
    return config(from_train(train), _record(train))


@contextmanager
def scheduled_trainer(train: Train, folder: Path) -> Iterator[Any]:
    """The exported subclass of TRL's trainer, under this config's schedule; its files are written into `folder`.

    They import one another by their own names, some of them late, so these are theirs until the block ends.
    """
    schedule = from_train(train)
    texts = {
        **own_code.texts(schedule),
        "schedule.py": generate.schedule_module(schedule, Trace()),
        **generate.rule_modules(schedule),
        **TARGET.files(schedule, _record(train)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    names = [Path(name).stem for name in texts if name.endswith(".py")]
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("scheduled_trl").ScheduledGRPOTrainer
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)


def _record(train: Train) -> dict[str, Any]:
    return {"rollout": {"group_size": train.rollout.group_size}}
