"""What a study or search would take, from a few timed training steps: nothing is recorded."""

from __future__ import annotations

import math
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train
from atod_sweep.sweep import progress
from atod_sweep.sweep.jobs import Row, load
from atod_sweep.sweep.session import Options, Work, at_a_time, ensure_models

STEPS = 4  # timed training steps; the first one is left out: it warms caches
START_SECONDS = 2.0  # an attempt's imports and model loading on a warm worker


@dataclass(frozen=True)
class Estimate:
    """Expected size of a run. Seconds are wall-clock; `trial_seconds` is that of one trial of the base config."""

    trials: int
    at_a_time: int
    trial_seconds: float
    seconds: float
    core_seconds: float
    env_steps: float
    tokens: float

    def lines(self) -> list[str]:
        """For the console."""
        return [
            f"{self.trials} trials of about {progress.clock(self.trial_seconds)}, {self.at_a_time} at a time: "
            f"about {progress.clock(self.seconds)} ({self.core_seconds / 3600:.1f} core-hours)",
            f"{self.env_steps:.3g} environment steps, {self.tokens:.3g} tokens",
        ]


def estimate(work: Work, options: Options) -> Estimate:
    """Time the base config for a few steps (its models are built if they are not cached) and extrapolate.

    Trials are taken to cost the same; a search that stops trials early costs less.
    """
    show = progress.choose(options.json_output)
    config = work.configs[0]
    ensure_models([config], options.trainer, show)
    rows: list[Row] = []
    short = validate(
        Train, {**config, "steps": STEPS, "evaluation": {**config["evaluation"], "every": STEPS}}, "config"
    )
    with tempfile.TemporaryDirectory() as folder:
        result = load(options.trainer.train)(short, Path(folder), rows.extend, resume=False)
    steps, every = config["steps"], config["evaluation"]["every"]
    step_seconds = statistics.median(_seconds(row) for row in rows if row["phase"] == "train" and row["step"] > 0)
    eval_seconds = statistics.median(row.get("seconds/eval", 0.0) for row in rows if row["phase"] == "eval")
    trial_seconds = START_SECONDS + steps * step_seconds + (math.ceil(steps / every) + 1) * eval_seconds
    width = at_a_time(work, options)
    return Estimate(
        trials=work.total,
        at_a_time=width,
        trial_seconds=trial_seconds,
        seconds=math.ceil(work.total / width) * trial_seconds,
        core_seconds=work.total * trial_seconds * work.resources.cpu,
        env_steps=_scaled(result.cost, "env_steps", work.total * steps),
        tokens=_scaled(result.cost, "tokens", work.total * steps),
    )


def _seconds(row: Row) -> float:
    return float(sum(value for key, value in row.items() if key.startswith("seconds/")))


def _scaled(cost: dict[str, Any], key: str, steps: int) -> float:
    return float(cost.get(key, 0.0)) / STEPS * steps
