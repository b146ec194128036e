"""Arms and paired differences as numbers: who was compared with whom, on which seeds, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from atod_sweep.config.study import Metric
from atod_sweep.evidence.analysis.results import Levels, Missing, Results, Trial, sign_of
from atod_sweep.evidence.analysis.scores import (
    by_task_set,
    difference_error,
    known_scores,
    level_error,
    mean,
    outcomes,
    rests,
    seed_score,
    seeds_of_all,
)
from atod_sweep.evidence.stats import significance
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.procedures import STUDENT, resolution
from atod_sweep.evidence.stats.task_sets import TaskError

APPLIED = "weight/applied_teacher"


@dataclass(frozen=True)
class ArmSummary:
    """One arm at one condition: its scores by seed, and what they cost."""

    arm: str
    role: str
    levels: Levels
    scores: dict[int, float]
    expected: int
    interval: Interval
    start: float
    cost: dict[str, float]
    seconds: float
    applied_teacher: float

    @property
    def missing(self) -> int:
        """Seeds of the design without a result."""
        return self.expected - len(self.scores)


@dataclass(frozen=True)
class Comparison:
    """Arm minus other, on the seeds that both have. `sign`: 1 if a larger value is better, -1 if a smaller one is."""

    arm: str
    other: str
    levels: Levels
    metric: str
    pairs: dict[int, tuple[float, float]]
    interval: Interval
    p: float
    missing: tuple[Missing, ...]
    sign: float = 1.0
    p_holm: float = np.nan
    by_set: dict[int, list[float]] = field(default_factory=dict)  # differences by seed on every final task set
    tasks: TaskError | None = None  # the tasks' part in the interval
    floor: float = 0.0  # the least spread that the differences can honestly have

    @property
    def differences(self) -> dict[int, float]:
        """arm - other, by seed."""
        return {seed: a - b for seed, (a, b) in self.pairs.items()}

    @property
    def values(self) -> list[float]:
        return list(self.differences.values())

    def gain(self, level: float) -> Interval:
        """The interval at another level, in the metric's good direction."""
        return STUDENT.over_tasks(self.tasks).interval(self.values, level, self.floor).towards(self.sign)

    @property
    def wins(self) -> int:
        """Seeds on which the arm is better."""
        return sum(self.sign * d > 0 for d in self.values)

    @property
    def losses(self) -> int:
        """Seeds on which the arm is worse."""
        return sum(self.sign * d < 0 for d in self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation of the differences; NaN below two seeds."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else np.nan


def summarise(results: Results, arm: str, levels: Levels) -> ArmSummary:
    """The arm's results at one condition (levels of all factors); none at a condition of another study."""
    trials = results.of(arm, levels) if levels in results.conditions else []
    scores = {t.seed: score for t in trials if (score := t.score(results.study.metric)) is not None}
    done = [t for t in trials if t.seed in scores]
    return ArmSummary(
        arm=arm,
        role=trials[0].role if trials else ("control" if arm in results.study.controls else "arm"),
        levels=levels,
        scores=scores,
        expected=sum(not rests(results, arm, levels, seed) for seed in results.seeds),
        interval=level_interval(results, arm, levels, scores),
        start=results.start(arm, levels),
        cost={
            key: mean([t.cost[key] for t in done if key in t.cost]) for key in sorted({k for t in done for k in t.cost})
        },
        seconds=mean([t.seconds for t in done]),
        applied_teacher=mean([w for t in done if (w := applied_teacher(t)) is not None]),
    )


def level_interval(results: Results, arm: str, at: Levels, scores: dict[int, float]) -> Interval:
    """The arm's mean of these scores by seed, with its 95 % interval over seeds and what the draw of tasks adds."""
    return STUDENT.over_tasks(level_error(results, arm, at, list(scores))).interval(list(scores.values()))


def applied_teacher(trial: Trial) -> float | None:
    """Mean applied teacher weight per generated token of the whole training; None if it was not recorded."""
    if APPLIED in trial.means:
        return trial.means[APPLIED]
    weight = trial.curve(APPLIED)
    tokens = trial.curve("cost/generated_tokens")
    if not len(weight.x) or not np.array_equal(weight.x, tokens.x) or not tokens.y[-1]:  # the teacher played it all
        return float(weight.y.mean()) if len(weight.x) else None
    return float(np.average(weight.y, weights=np.diff(tokens.y, prepend=0.0)))


def summaries(results: Results) -> list[ArmSummary]:
    """Every arm at every condition, condition by condition, in the study's order."""
    return [summarise(results, arm, levels) for levels in results.conditions for arm in results.arms]


def compare(
    results: Results, arm: str, other: str, at: Levels, metric: Metric, without: Sequence[Levels] = ()
) -> Comparison:
    """Paired differences arm - other on common seeds, at the given levels (averaged over factors left open).

    Conditions in `without` do not count; nor do seeds on which a side rests.
    """
    pairs, missing = {}, []
    for seed in results.seeds:
        if any(rests(results, side, at, seed, without) for side in (arm, other)):
            continue
        a = seed_score(results, arm, at, seed, metric, without)
        b = seed_score(results, other, at, seed, metric, without)
        if isinstance(a, float) and isinstance(b, float):
            pairs[seed] = (a, b)
        missing += [gap for side in (a, b) if isinstance(side, list) for gap in side]
    values = [a - b for a, b in pairs.values()]
    tasks = outcomes(results, metric, at, without)
    floor = resolution(values, tasks) if tasks else 0.0
    sides = [by_task_set(results, name, list(pairs), at, metric, without) for name in (arm, other)]
    by_set = {
        seed: [a - b for a, b in zip(sides[0][seed], sides[1][seed], strict=True)]
        for seed in pairs
        if seed in sides[0] and seed in sides[1]
    }
    scores = [(arm, [a for a, _ in pairs.values()]), (other, [b for _, b in pairs.values()])]
    error = difference_error(results, scores, list(by_set.values()), at, metric, without)
    procedure = STUDENT.over_tasks(error)
    return Comparison(
        arm=arm,
        other=other,
        levels=at,
        metric=metric.name,
        pairs=pairs,
        interval=procedure.interval(values, floor=floor),
        p=procedure.p(values, floor=floor),
        missing=tuple(missing),
        sign=results.study.sign if metric.name == results.study.metric.name else sign_of(metric.name),
        by_set=by_set,
        tasks=error,
        floor=floor,
    )


def against_reference(results: Results) -> list[Comparison]:
    """Every other arm minus the reference arm at every condition; Holm's correction runs within each condition."""
    found: list[Comparison] = []
    for levels in results.conditions:
        family = [
            compare(results, arm, results.study.reference, levels, results.study.metric)
            for arm in results.arms
            if arm != results.study.reference
        ]
        adjusted = significance.holm([c.p for c in family])
        found += [replace(c, p_holm=float(p)) for c, p in zip(family, adjusted, strict=True)]
    return found


@dataclass(frozen=True)
class Best:
    """The arm with the best mean over all conditions, and how many arms it was the best of."""

    arm: str
    interval: Interval
    candidates: int
    incomplete: bool
    left_out: float  # result of the arm that is best on the other seeds, averaged over the seed left out


def best_arm(results: Results) -> Best | None:
    """The arm (never a control) with the best mean result; None if no arm has one.

    A seed counts if it has every condition and no arm rests on it. Arms with missing seeds take part only if no arm is
    complete.
    """
    metric = results.study.metric
    seeds = seeds_of_all(results)
    scores = {arm: known_scores(results, arm, {}, seeds, metric) for arm in results.study.arms}
    scored = {arm: by_seed for arm, by_seed in scores.items() if by_seed}
    complete = {arm: by_seed for arm, by_seed in scored.items() if len(by_seed) == len(seeds)}
    candidates = complete or scored
    if not candidates:
        return None
    sign = results.study.sign
    arm = max(candidates, key=lambda a: sign * mean(list(candidates[a].values())))
    interval = level_interval(results, arm, {}, candidates[arm])
    return Best(arm, interval, len(candidates), not complete, _left_out(complete, sign))


def _left_out(scores: dict[str, dict[int, float]], sign: float) -> float:
    """Leave-one-seed-out estimate of what choosing the best arm is worth; NaN below two common seeds."""
    table_AS = np.array([list(by_seed.values()) for by_seed in scores.values()])
    if table_AS.size == 0 or table_AS.shape[1] < 2:
        return np.nan
    others_AS = table_AS.sum(axis=1, keepdims=True) - table_AS
    return float(table_AS[(sign * others_AS).argmax(axis=0), np.arange(table_AS.shape[1])].mean())
