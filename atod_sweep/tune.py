"""Trials of this package in your own Ray Tune sweep, beside any searcher, scheduler, logger or callback of Tune.

    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch
    import atod_sweep as atod

    tuner = tune.Tuner(
        atod.tune.trainable("presets/support_desk_compact"),
        param_space={"objective.distill_weight.end": tune.uniform(0.0, 0.3), "steps": 100},
        tune_config=tune.TuneConfig(metric="eval/success", mode="max", num_samples=20,
                                    search_alg=OptunaSearch(), scheduler=ASHAScheduler(time_attr="step", max_t=100)),
    )

Not this: how our own studies and searches run (`sweep/backends/ray.py`). They keep a ledger that they resume from, pair
seeds, confirm on fresh ones and judge claims, of which Tune's own pieces know nothing.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atod_sweep.config.train import Train

__all__ = ["trainable"]

Row = dict[str, Any]


def trainable(base: str | Path | Mapping[str, Any] | Train) -> Callable[[dict[str, Any]], None]:
    """A function trainable for `ray.tune.Tuner`.

    `base`: a trainer config (a preset, a file, a mapping, the record). The keys of Tune's `param_space` are dotted keys
    of it (`"optimiser.lr"`, `"steps"`, `"seed"`), checked by the same rules as everywhere.

    Reported at every evaluation, as scalars: `step`, all of `eval/*`, `cost/*`, and the last training step's `loss`,
    `kl/*`, `weight/*`. With every report after step 0 goes a `tune.Checkpoint` (weights, optimiser, generators; the
    last one holds the trained student, too), from which a trial goes on, also under other schedules, objective weights
    or learning rates, as PBT wants it. Raises UserError for a config that is not valid.
    """
    from atod_sweep.config.files import train_data
    from atod_sweep.config.train import Train

    if isinstance(base, Train):
        data = base.model_dump(mode="json")
    else:
        data = train_data(str(base) if isinstance(base, Path) else base, Path(), "trainable")
    path = [os.getcwd()]

    def atod(config: dict[str, Any]) -> None:
        _trial(data, config, path)

    return atod


def _trial(base: Row, config: Row, path: list[str]) -> None:
    import sys

    from ray import tune

    from atod_sweep.config.files import load_train
    from atod_sweep.training.loop.runners import train

    sys.path += [entry for entry in path if entry not in sys.path]
    resolved = load_train(base, config)
    resolved = resolved.model_copy(update={"checkpoint_every": resolved.evaluation.every})
    with tempfile.TemporaryDirectory() as scratch:
        folder, before = Path(scratch), tune.get_checkpoint()
        if before is not None:
            with before.as_directory() as saved:
                shutil.copytree(saved, folder, dirs_exist_ok=True)
        relay = _Relay(folder, resolved.steps, is_restored=before is not None)
        train(resolved, folder, relay, resume=before is not None, mutable=True)
        relay.finish()


class _Relay:
    """Passes evaluations on to Tune. A restored trial evaluates once more where it left off: that is not reported."""

    def __init__(self, folder: Path, steps: int, is_restored: bool) -> None:
        self._folder, self._steps, self._skip = folder, steps, is_restored
        self._last: Row = {}

    def __call__(self, rows: list[Row]) -> None:
        row = {**_scalars(rows[-2] if len(rows) > 1 else {}), **_scalars(rows[-1])}
        if self._skip:
            self._skip = False
        elif row["step"] == self._steps:
            self._last = row  # reported by `finish`, with the student
        else:
            self._report(row, "checkpoint")

    def finish(self) -> None:
        """Training is over, and the student is saved."""
        if self._last:
            self._report(self._last, "student")

    def _report(self, row: Row, part: str) -> None:
        from ray import tune

        if not (self._folder / part).is_dir():  # at step 0 there is nothing to go on from
            tune.report(row)
            return
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(self._folder / part, Path(scratch) / part)
            tune.report(row, checkpoint=tune.Checkpoint.from_directory(scratch))


def _scalars(row: Row) -> Row:
    """The numbers of a row that Tune's loggers and searchers can read."""
    return {k: v for k, v in row.items() if isinstance(v, int | float) and math.isfinite(v)}
