"""Arms summed up over all conditions: robust means, chance of improvement, area under the curve, interactions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from atod_sweep.evidence.analysis.comparisons import Comparison, compare
from atod_sweep.evidence.analysis.curves import complete
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.scores import seed_score
from atod_sweep.evidence.stats import curves, factorial
from atod_sweep.evidence.stats.aggregate import SUMMARIES, linearised, probability_of_improvement
from atod_sweep.evidence.stats.intervals import Array, Interval
from atod_sweep.evidence.stats.procedures import STUDENT
from atod_sweep.evidence.stats.task_sets import measured
from atod_sweep.records.metric_names import watched


@dataclass(frozen=True)
class Aggregate:
    """One arm over all conditions, on the seeds that have every condition."""

    arm: str
    seeds: int
    summaries: dict[str, Interval | float]  # of every statistic in SUMMARIES
    improvement: float  # chance that a random run beats a random one of the reference; NaN for the reference itself
    area: Interval


@dataclass(frozen=True)
class Interaction:
    """Does a factor change an arm's lead over the reference? Its lead at `level` minus its lead at `base`."""

    arm: str
    factor: str
    level: str
    base: str
    interval: Interval


@dataclass(frozen=True)
class MainEffect:
    """What a level of a factor (or an arm) adds to the grand mean."""

    name: str
    value: str
    interval: Interval


def complete_table(results: Results, arm: str) -> Array | None:
    """`score_ST` of an arm over conditions T, seeds with a missing condition left out; None if none is complete."""
    metric = results.study.metric
    rows = []
    for seed in results.seeds:
        trials = [results.find(arm, levels, seed) for levels in results.conditions]
        scores = [trial.score(metric) if trial else None for trial in trials]
        if None not in scores:
            rows.append(scores)
    return np.array(rows, dtype=np.float64) if rows else None


def aggregate(results: Results) -> list[Aggregate]:
    """Every arm that has a complete seed."""
    reference_ST = complete_table(results, results.study.reference)
    found = []
    for arm in results.arms:
        table_ST = complete_table(results, arm)
        if table_ST is None:
            continue
        improvement = math.nan
        if arm != results.study.reference and reference_ST is not None:
            sign = results.study.sign
            improvement = probability_of_improvement(sign * table_ST, sign * reference_ST)
        summaries = {
            key: linearised(table_ST, each) if each.influence else each(table_ST) for key, each in SUMMARIES.items()
        }
        found.append(Aggregate(arm, len(table_ST), summaries, improvement, _area(results, arm)))
    return found


def _area(results: Results, arm: str) -> Interval:
    """Area under the learning curve, mean over conditions, interval over the seeds that have them all."""
    by_seed: dict[int, list[float]] = {}
    for levels in results.conditions:
        for trial in complete(results, arm, levels):
            curve = trial.curve(watched(results.study.metric.name), "eval")
            by_seed.setdefault(trial.seed, []).append(curves.area(curve.x, curve.y))
    whole = [np.mean(areas) for areas in by_seed.values() if len(areas) == len(results.conditions)]
    return STUDENT.interval([float(area) for area in whole if not math.isnan(area)])


def interactions(results: Results) -> list[Interaction]:
    """Difference of differences of every arm against the reference, for every factor's levels against its first."""
    reference, metric = results.study.reference, results.study.metric
    found = []
    for factor, (base, *others) in results.study.factors.items():
        for arm in results.arms:
            leads = {level: compare(results, arm, reference, {factor: level}, metric) for level in (base, *others)}
            seeds = [seed for seed in results.seeds if all(seed in lead.pairs for lead in leads.values())]
            if arm == reference or not seeds:
                continue
            for level in others:
                found.append(Interaction(arm, factor, level, base, _change(leads[level], leads[base], seeds)))
    return found


def _change(lead: Comparison, base: Comparison, seeds: list[int]) -> Interval:
    """Difference of two leads: what a seed, and on final sets a draw of tasks, does to both has cancelled."""
    by_set = [np.subtract(lead.by_set[s], base.by_set[s]) for s in seeds if s in lead.by_set and s in base.by_set]
    error = measured(by_set) if by_set else None
    return STUDENT.over_tasks(error).interval([lead.differences[s] - base.differences[s] for s in seeds])


def main_effects(results: Results) -> list[MainEffect]:
    """Every factor's levels and, once, the arms, on the seeds that have every cell of the design."""
    found: list[MainEffect] = []
    for factor, levels in results.study.factors.items():
        cells_SAB = _cells(results, factor, levels)
        if not len(cells_SAB):
            continue
        effects = factorial.effects(cells_SAB)
        found += [MainEffect(factor, level, e) for level, e in zip(levels, effects.levels, strict=True)]
        if factor == next(iter(results.study.factors)):
            found += [MainEffect("arm", arm, e) for arm, e in zip(results.arms, effects.arms, strict=True)]
    return found


def _cells(results: Results, factor: str, levels: list[str]) -> Array:
    """`score_SAB` over arms and levels of one factor (others averaged), seeds with any gap left out."""
    metric = results.study.metric
    rows = [
        [[seed_score(results, arm, {factor: level}, seed, metric) for level in levels] for arm in results.arms]
        for seed in results.seeds
    ]
    whole = [row for row in rows if all(isinstance(x, float) for cells in row for x in cells)]
    return np.array(whole, dtype=np.float64)
