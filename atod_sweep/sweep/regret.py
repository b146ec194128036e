"""How often an early-stopping rule would have dropped what turned out best: full runs, replayed in random orders."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atod_sweep.config.base import load_yaml
from atod_sweep.config.search import ASHA, Median, Objective
from atod_sweep.errors import UserError
from atod_sweep.sweep import ledger
from atod_sweep.sweep.jobs import Row
from atod_sweep.sweep.recorder import METRICS, read_rows
from atod_sweep.sweep.stopping import Rule


@dataclass(frozen=True)
class Recorded:
    """A finished trial: what a rule would have seen of it, and how it ended."""

    trial: str
    configuration: str
    config: Mapping[str, Any]
    rows: list[Row]
    score: float


def recorded(run_dir: Path) -> tuple[list[Recorded], Objective]:
    """The complete search trials of a run, and what it optimised. UserError if it is no search."""
    history = ledger.fold(ledger.read(run_dir))
    if history.study is None or "search" not in history.study:
        raise UserError(f"{run_dir}: holds no search; give the folder of one, for example runs/schedule")
    objective = Objective.model_validate(history.study["search"]["metric"])
    trials = [
        Recorded(
            trial=row["trial"],
            configuration=row["configuration"],
            config=load_yaml(run_dir / "trials" / row["trial"] / "config.yaml"),
            rows=read_rows(run_dir / "trials" / row["trial"] / METRICS),
            score=row["score"],
        )
        for row in history.trials.values()
        if row["phase"] == "search" and row["state"] == "COMPLETE" and row.get("score") is not None
    ]
    return trials, objective


RULES: dict[str, Median | ASHA] = {
    "median, grace until the teacher's weight has decayed": Median(),
    "median, grace of a quarter": Median(grace=0.25),
    "ASHA (3), grace until the teacher's weight has decayed": ASHA(),
    "ASHA (3), grace of a tenth": ASHA(grace=0.1),
}


def regrets(run_dir: Path, orders: int = 1000, seed: int = 0) -> dict[str, float]:
    """Rule -> share of random orders of a run's full trials in which it would have stopped the eventual best."""
    trials, objective = recorded(run_dir)
    if not trials:
        raise UserError(f"{run_dir}: has no complete search trials to replay")
    return {name: dropped_best(trials, rule, objective, orders, seed) for name, rule in RULES.items()}


def dropped_best(trials: Sequence[Recorded], config: Median | ASHA, metric: Objective, orders: int, seed: int) -> float:
    """Share of random orders in which a rule stops a trial of the configuration that ended best, had they run full.

    Trials are replayed one after the other; a stopped one leaves the peers only what it had reported by then.
    """
    means = {
        name: statistics.fmean(t.score for t in group)
        for name, group in itertools.groupby(sorted(trials, key=lambda t: t.configuration), lambda t: t.configuration)
    }
    best = (max if metric.mode == "max" else min)(means, key=lambda name: means[name])
    rng = np.random.default_rng(seed)
    dropped = 0
    for _ in range(orders):
        rule = Rule(config, metric)
        order = [trials[i] for i in rng.permutation(len(trials))]
        dropped += any([_is_stopped(rule, trial) and trial.configuration == best for trial in order])  # noqa: C419
    return dropped / orders


def _is_stopped(rule: Rule, trial: Recorded) -> bool:
    return any(rule.add(trial.trial, trial.config, [row]) for row in trial.rows if row["phase"] == "eval")
