"""Does the best schedule of small models stay good on larger ones? Read from the ledgers of any set of runs.

A run is split by the size of the student that it trains; arms are followed from size to size by their names.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atod_sweep.config.base import with_overrides
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.learning import not_learning
from atod_sweep.evidence.analysis.results import Levels, Results
from atod_sweep.evidence.analysis.scores import known_scores, outcomes
from atod_sweep.evidence.analysis.text import listing, plural
from atod_sweep.evidence.stats.intervals import Array, Interval
from atod_sweep.evidence.stats.procedures import FEWEST
from atod_sweep.evidence.stats.ranks import agreement
from atod_sweep.evidence.stats.regret import regret
from atod_sweep.records.ledger_rows import StudyRow

_NAMED = re.compile(r"(\d+(?:\.\d+)?)\s?([bm])(?![a-z0-9])", re.IGNORECASE)  # Qwen3-0.6B, SmolLM2-135M


@dataclass(frozen=True)
class Size:
    """Students of one size in one run: their conditions, and the scores of all arms on common seeds."""

    parameters: float
    results: Results
    conditions: list[Levels]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    scores_AS: Array  # large is good
    tasks: int | None  # outcomes of 0 or 1 that a score is the mean of; None of other metrics

    @property
    def name(self) -> str:
        """`0.11 M`, `1.7 B`."""
        value, unit = (self.parameters / 1e9, "B") if self.parameters >= 1e9 else (self.parameters / 1e6, "M")
        return f"{value:.2g} {unit}" if value < 100 else f"{value:.0f} {unit}"

    @property
    def best(self) -> str:
        """The arm with the best mean."""
        return self.arms[int(self.scores_AS.mean(axis=1).argmax())]

    def regret(self, arm: str) -> Interval:
        """What the best arm here is above this one."""
        return regret(self.scores_AS, self.arms.index(arm), self.tasks)

    @property
    def learned(self) -> bool:
        """Whether an arm gained enough at any of the conditions."""
        stalled = not_learning(self.results)
        return any(levels not in stalled for levels in self.conditions)

    @property
    def told_apart(self) -> bool:
        """Whether any arm is shown to be worse than another."""
        return any(self.regret(arm).low > 0 for arm in self.arms)


@dataclass(frozen=True)
class Step:
    """One size against the smaller ones. `agreement`: rank correlation with the size below; of the smallest: None."""

    size: Size
    agreement: Interval | None
    regret: Interval
    outcome: str


@dataclass(frozen=True)
class Transfer:
    """`chosen`: the best arm of the smallest size; it holds at another if its regret there is within the margin."""

    chosen: str
    margin: float
    steps: list[Step]
    limits: list[str]  # what cannot be judged, and why


def transfer(runs: Sequence[Results], margin: float) -> Transfer:
    """Follow the arms of these runs from size to size. UserError where that cannot be asked of them."""
    if not 0 < margin < math.inf:
        raise UserError(f"--margin {margin:g}: a regret that would not matter lies above 0; use 0.03")
    if len(names := {results.study.metric.name for results in runs}) > 1:
        raise UserError(f"the runs are judged by {listing(sorted(names))}; compare runs of one metric")
    parts = sorted((part for results in runs for part in _parts(results)), key=lambda part: part[0])
    for one, other in itertools.pairwise(parts):
        if one[0] == other[0]:
            folders = listing(sorted({str(part[1].folder) for part in (one, other)}))
            raise UserError(f"{folders}: two runs of students of one size; give one run for each size")
    if len(parts) < 2:
        raise UserError(f"{runs[0].folder}: holds students of one size; give runs of at least two sizes")
    arms = _common(parts)
    sizes = [_size(*part, arms) for part in parts]
    if not sizes[0].seeds:
        raise UserError(f"{sizes[0].results.folder}: no seed has results of all of {listing(list(arms))}; resume it")
    chosen = sizes[0].best
    judged = [size for size in sizes if size.seeds]
    steps = [Step(sizes[0], None, sizes[0].regret(chosen), "chosen here")]
    for below, size in itertools.pairwise(judged):
        found = size.regret(chosen)
        steps.append(Step(size, agreement(below.scores_AS, size.scores_AS), found, _outcome(size, found, margin)))
    return Transfer(chosen, margin, steps, list(_limits(sizes, chosen)))


def _outcome(size: Size, found: Interval, margin: float) -> str:
    """The claim that the chosen arm is within the margin of the best one here."""
    if len(size.seeds) < FEWEST or not size.learned:
        return "not judged"
    return "supported" if found.high < margin else "refuted" if found.low > margin else "undecided"


# ---- sizes -------------------------------------------------------------------------------------------------------

_Part = tuple[float, Results, list[Levels]]


def _parts(results: Results) -> Iterator[_Part]:
    """The run's conditions by the size of their student."""
    if "search" in results.study.latest:
        raise UserError(
            f"{results.folder}: is a search, whose configurations have no names that other runs share; run its best as "
            "an arm of a study"
        )
    by_size: dict[float, list[Levels]] = defaultdict(list)
    for levels in results.conditions:
        by_size[_parameters(_student(results, levels), results)].append(levels)
    for parameters, conditions in by_size.items():
        yield parameters, results, conditions


def _student(results: Results, levels: Levels) -> dict[str, Any]:
    """The student's config at one condition."""
    definition = results.study.latest["definition"]
    data: dict[str, Any] = definition.get("base", {})
    for factor, level in levels.items():
        own = definition["factors"][factor][level]
        data = with_overrides(Train, data, {k: v for k, v in own.items() if k.split(".")[0] == "student"})
    return dict(data.get("student", {}))


def _parameters(student: Mapping[str, Any], results: Results) -> float:
    """Of a compact student: the weights of its blocks; of another: what its name says. UserError if it says nothing."""
    if student.get("kind", "compact") == "compact":
        default = Train().student.model_dump()
        width, layers = (student.get(key, default[key]) for key in ("hidden", "layers"))
        return float(layers * width * (4 * width + 3 * (student.get("intermediate") or 3 * width)))
    for name in (student.get("gguf_file"), student.get("path"), results.folder.name):
        if found := _NAMED.findall(str(name).rpartition("/")[2]):
            value, unit = found[-1]
            return float(value) * (1e9 if unit in "bB" else 1e6)
    raise UserError(
        f"{results.folder}: the name of its student, {str(student.get('path'))[:80]!r}, does not tell its size; call "
        f"the run's folder by it, such as {results.folder.name}-0.6B"
    )


def _common(parts: Sequence[_Part]) -> tuple[str, ...]:
    """Arms that have a result at every size, of the size's own students. UserError below two."""
    common = [
        arm
        for arm in parts[0][1].study.arms
        if all(
            arm in results.study.arms and _scores(results, arm, conditions) and not _has_own_student(results, arm)
            for _, results, conditions in parts
        )
    ]
    if len(common) < 2:
        folders = listing(list(dict.fromkeys(str(results.folder) for _, results, _ in parts)))
        raise UserError(
            f"{folders}: {plural(len(common), 'arm')} with results at every size; give runs of the same arms"
        )
    return tuple(common)


def _scores(results: Results, arm: str, conditions: list[Levels]) -> dict[int, float]:
    """Seed -> the arm's mean over the conditions; seeds without all of them are left out."""
    return known_scores(results, arm, {}, results.seeds, results.study.metric, _without(results, conditions))


def _without(results: Results, conditions: list[Levels]) -> list[Levels]:
    return [levels for levels in results.conditions if levels not in conditions]


def _size(parameters: float, results: Results, conditions: list[Levels], arms: tuple[str, ...]) -> Size:
    by_arm = [_scores(results, arm, conditions) for arm in arms]
    seeds = tuple(seed for seed in results.seeds if all(seed in scores for scores in by_arm))
    table_AS = results.study.sign * np.array([[scores[seed] for seed in seeds] for scores in by_arm])
    tasks = outcomes(results, results.study.metric, {}, _without(results, conditions))
    return Size(parameters, results, conditions, arms, seeds, table_AS, tasks)


# ---- limits ------------------------------------------------------------------------------------------------------


def _limits(sizes: Sequence[Size], chosen: str) -> Iterator[str]:
    """One sentence for everything that these runs leave open."""
    first, last = sizes[0], sizes[-1]
    if len(first.seeds) > 1:
        rivals = [arm for arm in first.arms if arm != chosen and first.regret(arm).low == 0]
        if rivals:
            yield f"The choice itself: at {first.name} {chosen} is not told apart from {listing(rivals)}."
    for size in sizes:
        yield from _limits_of(size)
    others = [(size.results, arm) for size in sizes for arm in size.results.study.arms if arm not in first.arms]
    own = {arm for results, arm in others if _has_own_student(results, arm)}
    if own:
        yield f"{listing(sorted(own))}: with a student of another size than the run's, and left out."
    if left_out := {arm for _, arm in others} - own:
        yield f"{listing(sorted(left_out))}: not at every size, and left out."
    for what, of in _MADE.items():
        if len({repr(of(size.results.study.latest)) for size in sizes}) > 1:
            yield f"Size alone: the runs also differ in {what}."
    redefined = [arm for arm in first.arms if len({repr(_overrides(size.results, arm)) for size in sizes}) > 1]
    if redefined:
        yield f"{listing(redefined)}: not defined alike in all runs."
    yield f"Sizes above {last.name}, other tasks, and schedules that were not run."


def _limits_of(size: Size) -> Iterator[str]:
    wanted = len(size.results.seeds)
    if len(size.seeds) < FEWEST:
        yield f"{size.name}: {plural(len(size.seeds), 'seed')} with all arms; {FEWEST} are needed."
    elif len(size.seeds) < wanted:
        yield f"{size.name}: {len(size.seeds)} of {wanted} seeds have all arms; the others do not count."
    if len(size.seeds) > 1 and not size.told_apart:
        yield f"{size.name}: no arm is told apart from another, so an order of them, and its correlation, is chance."
    if not size.learned:
        yield f"{size.name}: no arm learned, so a regret says nothing."


_MADE: dict[str, Callable[[StudyRow], object]] = {
    "the version of the trainer's numerics": lambda row: row["numerics"],
    "the environment": lambda row: row["definition"].get("base", {}).get("env"),
    "the teacher": lambda row: row["definition"].get("base", {}).get("teacher"),
}


def _overrides(results: Results, arm: str) -> dict[str, Any] | None:
    arms = results.study.latest["definition"].get("arms", {})
    return arms.get(arm) if isinstance(arms, dict) else None


def _has_own_student(results: Results, arm: str) -> bool:
    return any(key.startswith("student.") for key in _overrides(results, arm) or ())
