"""From a run to what a claim is decided by: differences by seed, collapses, and what missing seeds could be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atod_sweep.config.study import Metric
from atod_sweep.evidence.analysis.comparisons import Comparison
from atod_sweep.evidence.analysis.learning import SUCCESS
from atod_sweep.evidence.analysis.results import Levels, Results, Trial
from atod_sweep.evidence.analysis.scores import outcomes, rests, seed_score, teacher_level, within
from atod_sweep.evidence.stats import collapse
from atod_sweep.evidence.stats.decision import Data, Seed
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.task_sets import TaskError, measured
from atod_sweep.records.metric_names import bounds


@dataclass(frozen=True)
class Collapses:
    """How many of an arm's seeds collapsed, of those with a result: the share with its exact interval."""

    arm: str
    levels: Levels
    seeds: tuple[int, ...]
    rate: Interval

    @property
    def count(self) -> int:
        """Collapsed seeds."""
        return len(self.seeds)


def has_collapsed(trial: Trial, share: float | None) -> bool:
    """Whether the trial ended without `share` of the success that was left to gain at step 0; no if that is unknown."""
    start, end = trial.start_metrics.get(SUCCESS), trial.metrics.get(SUCCESS)
    if share is None or start is None or end is None:
        return False
    return end < start + share * (1 - start)


def collapses(results: Results, arm: str, at: Levels, without: Sequence[Levels] = ()) -> Collapses:
    """The seeds on which the arm collapsed in any of the conditions within `at` (those in `without` do not count)."""
    cells = _cells(results, arm, at, without)
    done = {trial.seed for trial in cells if trial.score(results.study.metric) is not None}
    bad = {trial.seed for trial in cells if trial.seed in done and has_collapsed(trial, results.study.bars.collapse)}
    return Collapses(arm, at, tuple(sorted(bad)), collapse.rate(len(bad), len(done)))


def claim_data(results: Results, c: Comparison, metric: Metric, without: Sequence[Levels] = ()) -> Data:
    """What bears on a claim about `c`, in the claim's own direction: above 0, its arm is the better one."""
    bad_arm, bad_other = (set(collapses(results, arm, c.levels, without).seeds) for arm in (c.arm, c.other))
    seeds = [Seed(c.sign * d, seed in bad_arm, seed in bad_other) for seed, d in c.differences.items()]
    # A seed that neither side has started is not missing: the study is only that much smaller so far.
    begun = {t.seed for arm in (c.arm, c.other) for t in _cells(results, arm, c.levels, without)}
    missing = [
        _range(results, c, metric, seed, without)
        for seed in results.seeds
        if seed not in c.pairs
        and c.pairs
        and seed in begun
        and not any(rests(results, arm, c.levels, seed, without) for arm in (c.arm, c.other))
    ]
    return Data(seeds, missing, outcomes(results, metric, c.levels, without))


def task_error(c: Comparison, data: Data) -> TaskError | None:
    """What the draw of tasks adds to the claim's interval: on final sets, among the seeds that it is judged by."""
    bad = {seed for seed, s in zip(c.differences, data.seeds, strict=True) if s.arm_collapsed or s.other_collapsed}
    kept = [row for seed, row in c.by_set.items() if not (data.is_sound and seed in bad)]
    if not kept or not (found := measured(kept)).error:  # of sets that all agree, what could be told of them at all
        return c.tasks
    return found


def _cells(results: Results, arm: str, at: Levels, without: Sequence[Levels]) -> list[Trial]:
    return [trial for trial in results.of(arm, at) if trial.is_trained and trial.levels not in without]


def _range(
    results: Results, c: Comparison, metric: Metric, seed: int, without: Sequence[Levels]
) -> tuple[float, float]:
    """The least and the largest difference that the seed could have shown, in the claim's direction."""
    (low, high), (other_low, other_high) = (
        _side(results, arm, c.levels, metric, seed, without) for arm in (c.arm, c.other)
    )
    ends = (c.sign * (low - other_high), c.sign * (high - other_low))
    return min(ends), max(ends)


def _side(
    results: Results, arm: str, at: Levels, metric: Metric, seed: int, without: Sequence[Levels]
) -> tuple[float, float]:
    """What the arm's mean over the conditions could be at least and at most."""
    conditions = within(results, at, without)
    if arm not in results.arms:
        level = float(np.mean([teacher_level(results, levels, metric, arm) for levels in conditions]))
        return level, level
    least, most = bounds(metric.name) or (-math.inf, math.inf)
    known = [seed_score(results, arm, levels, seed, metric, without) for levels in conditions]
    return tuple(  # type: ignore[return-value]
        float(np.mean([score if isinstance(score, float) else end for score in known])) for end in (least, most)
    )
