"""What an early-stopping rule would have cost: full runs of a search or a study, replayed in random orders."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atod_sweep.config.base import load_yaml
from atod_sweep.config.search import ASHA, EarlyStopping, Median, Objective
from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.searches.stopping import StoppingRule
from atod_sweep.sweep.trials.jobs import Row

RULES: dict[str, EarlyStopping] = {
    "median, grace until the teacher's weight has decayed": Median(),
    "median, grace of a quarter of the run": Median(grace=0.25),
    "ASHA (3), grace until the teacher's weight has decayed": ASHA(),
    "ASHA (3), grace of a tenth of the run": ASHA(grace=0.1),
}


@dataclass(frozen=True)
class Recorded:
    """A finished trial: what a rule would have seen of it, and how it ended."""

    trial: str
    configuration: str
    seed: int
    config: Mapping[str, Any]
    rows: list[Row]
    score: float


@dataclass(frozen=True)
class Regret:
    """What a rule would have done to a search over recorded configurations, on average over random orders.

    `dropped_best`: share of orders in which it stopped the configuration that ends best. `loss`: how much worse the
    best one that it kept is, in the metric's units. `saved`: share of the environment steps that it saved.
    """

    dropped_best: float
    loss: float
    saved: float


def recorded(run_dir: Path) -> tuple[list[Recorded], Objective]:
    """The complete trials that a run chose among, and what they are judged by. UserError if there are none."""
    history = ledger.fold(ledger.read(run_dir))
    if history.study is None:
        raise ledger.nothing_in(run_dir)
    if history.study["factors"]:
        names = ", ".join(history.study["factors"])
        raise UserError(
            f"{run_dir}: its arms ran at several levels of {names}; give a search or a study without factors"
        )
    metric = history.study.get("search", {}).get("metric", history.study["metric"])
    trials = [
        Recorded(
            trial=row["trial"],
            configuration=row["arm"],
            seed=row["seed"],
            config=load_yaml(layout.trial_folder(run_dir, row["trial"]) / layout.CONFIG),
            rows=[r for r in read_metrics(_metrics(run_dir, row["trial"])) if r["phase"] == "eval"],
            score=score,
        )
        for row in history.trials.values()
        if row.get("phase", "search") == "search" and row["role"] != "teacher" and row["state"] == "COMPLETE"
        if (score := row.get("score")) is not None
    ]
    if not trials:
        raise UserError(f"{run_dir}: has no complete trials to replay")
    return trials, Objective.model_validate(metric)


def regret(
    trials: Sequence[Recorded],
    rule: EarlyStopping,
    metric: Objective,
    seeds: int = 2,
    orders: int = 1000,
    seed: int = 0,
) -> Regret:
    """Replay: configurations in random order, each with the same `seeds` of the recorded ones, drawn anew every time.

    As in a search, a configuration is dropped with the first of its trials that is stopped, and stopped trials leave
    the others only what they had reported by then. Configurations that lack a seed take no part. The best one is that
    with the best mean over all seeds. UserError if fewer than `seeds` were recorded.
    """
    table: dict[str, dict[int, Recorded]] = {}
    for trial in trials:
        table.setdefault(trial.configuration, {})[trial.seed] = trial
    common = sorted({trial.seed for trial in trials})
    table = {name: group for name, group in table.items() if len(group) == len(common)}
    if len(common) < seeds or not table:
        raise UserError(f"{seeds} seeds for each configuration are asked for, but only {len(common)} were run")
    score = {name: metric.sign * statistics.fmean(t.score for t in group.values()) for name, group in table.items()}
    best = max(score, key=lambda name: score[name])
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(orders):
        chosen = [common[i] for i in rng.choice(len(common), seeds, replace=False)]
        order = [list(table)[i] for i in rng.permutation(len(table))]
        kept, steps, whole = _replay(StoppingRule(rule, metric), [[table[name][s] for s in chosen] for name in order])
        left = [name for name, is_kept in zip(order, kept, strict=True) if is_kept]
        loss = score[best] - max((score[name] for name in left), default=min(score.values()))
        found.append((float(best not in left), loss, 1 - steps / whole))
    return Regret(*(statistics.fmean(column) for column in zip(*found, strict=True)))


def _replay(rule: StoppingRule, order: list[list[Recorded]]) -> tuple[list[bool], float, float]:
    """Which configurations were kept, the environment steps spent, and those of full runs."""
    kept, spent, whole = [], 0.0, 0.0
    for group in order:
        stopped = False
        for trial in group:
            whole += trial.rows[-1]["cost/env_steps"]
            if not stopped:
                stopped, steps = _run(rule, trial)
                spent += steps
        kept.append(not stopped)
    return kept, spent, whole


def _run(rule: StoppingRule, trial: Recorded) -> tuple[bool, float]:
    for row in trial.rows:
        if rule.add(trial.trial, trial.config, [row]):
            return True, row["cost/env_steps"]
    return False, trial.rows[-1]["cost/env_steps"]


def _metrics(run_dir: Path, trial: str) -> Path:
    return layout.trial_folder(run_dir, trial) / layout.METRICS
