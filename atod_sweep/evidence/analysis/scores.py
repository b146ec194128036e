"""One number per seed: the result of an arm or a teacher over some conditions, and what it says of the tasks drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from atod_sweep.config.files import flatten
from atod_sweep.config.study import Metric
from atod_sweep.evidence.analysis.results import Levels, Missing, Results, matches
from atod_sweep.evidence.stats import task_sets
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.task_sets import TaskError
from atod_sweep.records.metric_names import bounds, final_set

# Of these an episode has 0 or 1: what is left of them in a difference is whole episodes.
_COUNTED = ("/success", "/restraint", "/drop")


def mean(values: list[float]) -> float:
    """NaN without values."""
    return float(np.mean(values)) if values else np.nan


def teacher_level(results: Results, levels: Levels, metric: Metric, arm: str = "teacher") -> float:
    """The teacher's (or the `base` student's) own mean result at the given levels; NaN if it was not evaluated."""
    found = [t.score(metric) for t in results.fixed(arm) if matches(t.levels, levels)]
    return mean([score for score in found if score is not None])


def within(results: Results, at: Levels, without: Sequence[Levels] = ()) -> list[Levels]:
    """The conditions at the levels `at`, those in `without` left out."""
    return [levels for levels in results.conditions if matches(levels, at) and levels not in without]


def rests(results: Results, arm: str, at: Levels, seed: int, without: Sequence[Levels] = ()) -> bool:
    """Whether the arm was left out of the seed at any of the conditions inside `at`. The teacher never is."""
    return arm in results.arms and any(results.rests(arm, levels, seed) for levels in within(results, at, without))


def seeds_of_all(results: Results, at: Levels | None = None) -> list[int]:
    """The seeds on which no arm of the study rests at the levels `at`: those by which the best one is told."""
    return [
        seed for seed in results.seeds if not any(rests(results, arm, at or {}, seed) for arm in results.study.arms)
    ]


def seed_score(
    results: Results, arm: str, at: Levels, seed: int, metric: Metric, without: Sequence[Levels] = ()
) -> float | list[Missing]:
    """The arm's result with one seed, averaged over the conditions inside `at`; the missing cells if there are any.

    Conditions in `without` do not count. The teacher is one fixed model: a seed it was not evaluated with gets its
    mean.
    """
    conditions = within(results, at, without)
    if not conditions:
        return []
    if arm not in results.arms:
        return _teacher_score(results, arm, conditions, seed, metric)
    gaps = [
        Missing(arm, levels, seed, reason)
        for levels in conditions
        if (reason := results.why_missing(arm, levels, seed, metric))
    ]
    if gaps:
        return gaps
    scores = [t.score(metric) for levels in conditions if (t := results.find(arm, levels, seed)) is not None]
    return mean([score for score in scores if score is not None])


def known_scores(
    results: Results, arm: str, at: Levels, seeds: Sequence[int], metric: Metric, without: Sequence[Levels] = ()
) -> dict[int, float]:
    """`seed_score` of the seeds without a gap."""
    found = {seed: seed_score(results, arm, at, seed, metric, without) for seed in seeds}
    return {seed: score for seed, score in found.items() if isinstance(score, float)}


def _teacher_score(
    results: Results, arm: str, conditions: list[Levels], seed: int, metric: Metric
) -> float | list[Missing]:
    scores = [teacher_level(results, levels, metric, arm) for levels in conditions]
    return [Missing(arm, c, seed, "not evaluated") for c in conditions] if np.isnan(scores).any() else mean(scores)


def outcomes(results: Results, metric: Metric, at: Levels, without: Sequence[Levels] = ()) -> int | None:
    """How many outcomes of 0 or 1 a score at the given levels is the mean of; None for metrics of another kind.

    None also where the ledger does not say how many tasks an evaluation has.
    """
    tasks = tasks_of(results, metric)
    if tasks is None or not metric.name.endswith(_COUNTED):
        return None
    attempts = 1 if metric.name.startswith("retention/") else _fewest(results, "attempts") or 1
    return tasks * attempts * metric.last * len(within(results, at, without))


def tasks_of(results: Results, metric: Metric) -> int | None:
    """Tasks that a result rests on, of all final sets together for a final metric; None if the ledger does not say."""
    if metric.name.startswith("retention/"):
        return _retained(results, metric.name.split("/")[1])
    if not metric.name.startswith("final/"):
        return _fewest(results, "tasks")
    sets, tasks = (_fewest(results, f"final.{key}") for key in ("sets", "tasks"))
    return sets * tasks if sets and tasks else None


def _retained(results: Results, name: str) -> int | None:
    """Of how many tasks retention of this name consists in the study's base; None of texts."""
    kept = results.study.latest.get("definition", {}).get("base", {}).get("evaluation", {}).get("retention", [])
    return next((one["items"] for one in kept if one["name"] == name and not one.get("texts")), None)


def _fewest(results: Results, key: str) -> int | None:
    """The least value of one of `evaluation`'s fields in the study's base, arms and levels; None if base has none."""
    definition = results.study.latest.get("definition", {})
    value = flatten(definition.get("base", {})).get(f"evaluation.{key}")
    if value is None:
        return None
    levels = [level for factor in definition.get("factors", {}).values() for level in factor.values()]
    own = [o[f"evaluation.{key}"] for o in [*definition.get("arms", {}).values(), *levels] if f"evaluation.{key}" in o]
    return int(min([value, *own]))


# ---- what the draw of tasks adds ------------------------------------------------------------------------------------


def by_task_set(
    results: Results, arm: str, seeds: Sequence[int], at: Levels, metric: Metric, without: Sequence[Levels] = ()
) -> dict[int, list[float]]:
    """`seed_score` on every final task set, for those of the seeds that have them all."""
    sets = [Metric(name=final_set(metric.name, k)) for k in range(results.task_sets(metric.name))]
    tables = {seed: [seed_score(results, arm, at, seed, one, without) for one in sets] for seed in seeds if sets}
    known = {seed: [x for x in scores if isinstance(x, float)] for seed, scores in tables.items()}
    return {seed: scores for seed, scores in known.items() if len(scores) == len(sets)}


def level_error(results: Results, arm: str, at: Levels, seeds: Sequence[int]) -> TaskError | None:
    """What the draw of tasks adds to an arm's own level for the study's metric; None if nothing can be said.

    Measured on final sets; with one set of tasks alone, the most that it can be.
    """
    metric = results.study.metric
    table = list(by_task_set(results, arm, seeds, at, metric).values())
    scores = list(known_scores(results, arm, at, seeds, metric).values())
    return _measured(table, [scores]) or bounded_error(results, [scores], at, metric)


def fixed_level(results: Results, arm: str, at: Levels) -> Interval:
    """The level of a model that was not trained here, such as the teacher: its interval is that of the tasks alone."""
    metric = results.study.metric
    seed = results.seeds[0]
    level = seed_score(results, arm, at, seed, metric)
    error = level_error(results, arm, at, [seed])
    if not isinstance(level, float) or error is None:
        return Interval(level if isinstance(level, float) else np.nan, np.nan, np.nan, 1)
    half = error.half_width(0.05)
    return Interval(level, level - half, level + half, 1)


def difference_error(
    results: Results,
    sides: Sequence[tuple[str, Sequence[float]]],
    by_set: Sequence[Sequence[float]],
    at: Levels,
    metric: Metric,
    without: Sequence[Levels] = (),
) -> TaskError | None:
    """What the draw of tasks adds to a difference of two sides (name, scores); None if it has cancelled or is unknown.

    `by_set`: the differences of every seed on final sets. With one set of tasks alone: two arms have played the same
    tasks and much alike; a teacher fails at others than its students, so the most that it can be is taken.
    """
    scores = [scores for _, scores in sides]
    if measured := _measured(by_set, scores):
        return measured
    if not by_set and all(name in results.arms for name, _ in sides):
        return None
    return bounded_error(results, scores, at, metric, without)


def _measured(by_set: Sequence[Sequence[float]], sides: Sequence[Sequence[float]]) -> TaskError | None:
    """From the sets by seed; None without any, and where nobody failed, or solved, a task on one of them.

    Sets that all end at 0 or 1 agree, and yet tell no more than that the share is not far from there.
    """
    if not by_set or all(score in (0.0, 1.0) for scores in sides for score in scores):
        return None
    return task_sets.measured(by_set)


def bounded_error(
    results: Results, sides: Sequence[Sequence[float]], at: Levels, metric: Metric, without: Sequence[Levels] = ()
) -> TaskError | None:
    """The most that one draw of tasks can do to a level, or to a difference of two `sides`; None of no share of tasks.

    Conditions that change neither the environment nor the draw play the same tasks, whose chance does not average out.
    """
    tasks = tasks_of(results, metric)
    if tasks is None or bounds(metric.name) is None or not all(sides):
        return None
    draws = _draws(results, within(results, at, without))
    return task_sets.bounded([float(np.mean(scores)) for scores in sides], tasks * draws)


def _draws(results: Results, conditions: Sequence[Levels]) -> float:
    """How many draws of tasks the mean over conditions is worth, by Kish (1965): n² / sum of n_d².

    2 where each of two draws is played at two conditions; 1.8 where one is at two and the other at one.
    """
    factors = results.study.latest.get("definition", {}).get("factors", {})
    own = [[factors.get(factor, {}).get(level, {}) for factor, level in levels.items()] for levels in conditions]
    drawn = [[{k: v for k, v in one.items() if k.startswith(("env", "evaluation.seed"))} for one in o] for o in own]
    return len(drawn) ** 2 / sum(n**2 for n in Counter(map(repr, drawn)).values())
