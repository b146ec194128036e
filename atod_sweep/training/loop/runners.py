"""Which code runs a trial, by the kind of its trainer. It is named, not imported: TRL's room composes others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from atod_sweep.config.kinds import one_each
from atod_sweep.config.train import Train
from atod_sweep.config.trainer import Trainer

if TYPE_CHECKING:
    from atod_sweep.training.loop.books import Result, Row


@dataclass(frozen=True)
class Runner:
    """Modules: `trial` has `train`; `refusals`, which is light, has `check`, where there is anything to refuse."""

    trial: str
    refusals: str | None = None


RUNNERS: dict[str, Runner] = one_each(
    Trainer,
    {
        "atod": Runner("atod_sweep.training.loop.trainer"),
        "trl": Runner("atod_sweep.trl.trial", "atod_sweep.trl.refusals"),
    },
)


def check(config: Train, here: bool = True) -> None:
    """UserError, before anything is loaded, if the config's trainer cannot run it, or is not installed `here`."""
    refusals = RUNNERS[config.trainer.kind].refusals
    if refusals is not None:
        import_module(refusals).check(config, here)


def train(
    config: Train,
    directory: Path,
    report: Callable[[list[Row]], None] = lambda rows: None,
    resume: bool = False,
    mutable: bool = False,
) -> Result:
    """`loop.trainer.train`, by the trainer that the config names."""
    run: Callable[..., Result] = import_module(RUNNERS[config.trainer.kind].trial).train
    return run(config, directory, report, resume, mutable)
