"""Rules that end trials early, on environment steps and among trials of the same seed; and how often they would err.

A rule never stops a trial before its grace step: annealed schedules that decay fast look worse early and better late.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from atod_sweep.config.base import validate
from atod_sweep.config.schedules import Adaptive, Cosine, Exponential, Linear, Piecewise, Step
from atod_sweep.config.search import ASHA, Median, Objective
from atod_sweep.config.train import Train
from atod_sweep.sweep.jobs import Row


@dataclass
class Curve:
    """One trial's evaluations: optimiser steps, environment steps, and the metric with large values good."""

    seed: int
    steps: list[int] = field(default_factory=list)
    env_steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rungs: int = 0  # ASHA: rungs that it has passed

    def at(self, env_steps: float) -> float | None:
        """The value at so many environment steps, interpolated; None if it did not come that far."""
        if not self.env_steps or self.env_steps[-1] < env_steps:
            return None
        return float(np.interp(env_steps, self.env_steps, self.values))


class Rule:
    """Keeps the curves of all trials and says which to stop."""

    def __init__(self, config: Median | ASHA, metric: Objective) -> None:
        self._config, self._metric = config, metric
        self._curves: dict[str, Curve] = {}

    def add(self, trial: str, config: Mapping[str, Any], rows: list[Row]) -> bool:
        """Take in the rows of a trial; True if it should end here."""
        curve = self._curves.setdefault(trial, Curve(config["seed"]))
        sign = 1.0 if self._metric.mode == "max" else -1.0
        for row in rows:
            if row["phase"] == "eval" and self._metric.name in row and row["step"] not in curve.steps:
                curve.steps.append(row["step"])
                curve.env_steps.append(row.get("cost/env_steps", 0.0))
                curve.values.append(sign * row[self._metric.name])
        return self._is_behind(trial, curve, config)

    def _is_behind(self, trial: str, curve: Curve, config: Mapping[str, Any]) -> bool:
        if not curve.steps or curve.steps[-1] >= config["steps"]:
            return False  # the last evaluation: nothing is left to save
        grace = grace_step(config, self._config.grace)
        if curve.steps[-1] < grace:
            return False
        if isinstance(self._config, ASHA):
            if curve.steps[-1] < grace * self._config.reduction**curve.rungs:
                return False
            curve.rungs += 1
        now = statistics.fmean(curve.values[-self._metric.last :])
        others = (c for name, c in self._curves.items() if name != trial and c.seed == curve.seed)
        peers = [value for c in others if (value := c.at(curve.env_steps[-1])) is not None]
        if isinstance(self._config, ASHA):
            passing = max(1, (len(peers) + 1) // self._config.reduction)
            return len(peers) + 1 >= self._config.reduction and sum(peer > now for peer in peers) >= passing
        return len(peers) >= self._config.peers and now < statistics.median(peers)


def grace_step(config: Mapping[str, Any], fraction: float | None) -> float:
    """The optimiser step before which a trial is safe: `fraction` of the run, or where its teacher weight has decayed.

    At least a third of the run; all of it for a weight that follows what training measures.
    """
    steps: int = config["steps"]
    if fraction is not None:
        return fraction * steps
    schedule = getattr(validate(Train, config, "config").objective, "distill_weight", None)
    match schedule:
        case Linear() | Cosine() | Exponential():
            length = schedule.anneal_steps or schedule.anneal_fraction * steps
            end = schedule.hold_fraction * steps + length
        case Step() | Piecewise():
            end = schedule.boundaries[-1] * steps if schedule.boundaries else 0.0
        case Adaptive():
            end = steps
        case _:
            end = 0.0
    return min(max(end, steps / 3), steps)


@dataclass(frozen=True)
class Recorded:
    """A finished trial: what a rule would have seen of it, and how it ended."""

    trial: str
    configuration: str
    config: Mapping[str, Any]
    rows: list[Row]
    score: float


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
