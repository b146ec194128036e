"""What a trial takes of this machine: as one of its size did when it last ran here, or as its own first steps tell."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash, validate
from atod_sweep.config.train import Train
from atod_sweep.cores import cpu_cores
from atod_sweep.paths import cache_dir
from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.records.rows import write_whole
from atod_sweep.sweep.record.scoreboard import clock
from atod_sweep.sweep.trials.jobs import Row

START_SECONDS = 2.0  # an attempt's imports and model loading on a warm worker

Config = dict[str, Any]


@dataclass(frozen=True)
class Took:
    """Of one trial: wall-clock seconds, and the most bytes that its process held (None: not known)."""

    seconds: float
    memory: int | None = None


def size_of(config: Config) -> str:
    """Trials that differ in their objective, their optimiser or their seed only are taken to cost the same."""
    like = {key: value for key, value in config.items() if key not in ("objective", "optimiser", "seed")}
    if "url" in config["teacher"]:  # whom not every objective asks
        like["asks"] = validate(Train, config, "config").objective.taught
    return content_hash(like)


def before(size: str) -> Took | None:
    """As it was when a trial of this size last ran here; None if none has."""
    try:
        return Took(**json.loads(_place(size).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def keep(size: str, took: Took) -> None:
    """For `before` of later runs. Raises OSError."""
    path = _place(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(took)).encode())


def _place(size: str) -> Path:
    return cache_dir() / "took" / f"{content_hash([size, platform.node(), cpu_cores()])}.json"


def in_words(trials: int, seconds: float, at_a_time: int) -> str:
    """So many trials of so many seconds each."""
    total = clock(math.ceil(trials / at_a_time) * seconds)
    return f"{trials} trials of about {clock(seconds)}, {at_a_time} at a time: about {total}"


def trial_seconds(config: Config, rows: list[Row]) -> float | None:
    """Of a whole trial, from its rows so far; None before they tell of a second training step and an evaluation."""
    steps = [s for row in rows if row["phase"] == "train" and row["step"] > 0 and (s := _seconds(row))]
    evaluation = max((row.get("seconds/eval", 0.0) for row in rows if row["phase"] == "eval"), default=0.0)
    if not steps or not evaluation:
        return None
    asked = config["evaluation"]
    final = asked.get("final") or {"sets": 0, "tasks": 0}
    evaluations = math.ceil(config["steps"] / asked["every"]) + 1 + final["sets"] * final["tasks"] / asked["tasks"]
    return START_SECONDS + config["steps"] * statistics.median(steps) + evaluations * evaluation


def _seconds(row: Row) -> float:
    return float(sum(value for key, value in row.items() if key.startswith("seconds/")))


class Pace:
    """What trials of a run take, as soon as that is known of every size among `configs`.

    `are_ours`: whether they tell of this machine and of our own trainer, as earlier ones did and later ones will.
    """

    def __init__(self, configs: Iterable[Config], are_ours: bool) -> None:
        self._are_ours = are_ours
        self._count = Counter(map(size_of, configs))
        found = {size: before(size) for size in self._count if are_ours}
        self._seconds = {size: took.seconds for size, took in found.items() if took is not None}
        self._rows: dict[str, list[Row]] = {}

    @property
    def mean(self) -> float | None:
        if self._count.keys() - self._seconds.keys():
            return None
        return sum(n * self._seconds[size] for size, n in self._count.items()) / self._count.total()

    def hear(self, trial: str, config: Config, rows: list[Row]) -> None:
        if (size := size_of(config)) not in self._seconds:
            self._rows.setdefault(trial, []).extend(rows)
            if (seconds := trial_seconds(config, self._rows[trial])) is not None:
                self._seconds[size] = seconds

    def ended(self, row: TrialRow, config: Config) -> None:
        """Keep for later runs what a trial took from its first step to its last."""
        if self._are_ours and row["state"] == "COMPLETE" and row["attempt"] == 1 and row["role"] in ("arm", "control"):
            with contextlib.suppress(OSError):  # a run's own files tell of a full disk
                keep(size_of(config), Took(row["seconds"], row.get("memory")))
