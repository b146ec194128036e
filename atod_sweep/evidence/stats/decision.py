"""From paired data to one outcome and its p: what bears a claim out, contradicts it, or shows no difference. Pure.

With d the mean difference in the claim's own direction (above 0: its arm is better) and the margin m of the claim:

| claim | supported | refuted | equivalent |
|---|---|---|---|
| arm > other by m | d > m | d < m | -m < d < m |
| arm >= other within m | d > -m | d < -m | |
| arm = other within m | | d > m or d < -m | -m < d < m |

An outcome is decided if its p is below alpha, and at least three seeds bear on it; otherwise the claim is undecided.
Its p is the largest over all `readings` of the data that it must stand up to (an intersection-union test, so that
alpha holds without a correction):

- **sound**: the seeds on which neither side collapsed. Where these are less than half of all, collapsing is what an arm
  does rather than an accident, and all seeds are read in their place.
- **all**: every seed, collapses at their face value, where the side that the outcome favours collapsed more often: a
  better result of the rest must not hide it.
- **worst**: the first reading, and for every seed without a result (failed, NaN, pruned) the difference that speaks
  loudest against the outcome; as such a seed may have collapsed, too, also with **all** in the place of the first. A
  metric without bounds has no worst difference, and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

import numpy as np

from atod_sweep.evidence.stats.intervals import Array, Interval
from atod_sweep.evidence.stats.procedures import FEWEST, Procedure, resolution

Relation = Literal[">", ">=", "="]
Decided = Literal["supported", "refuted", "equivalent"]
ReadingName = Literal["sound", "all", "worst"]
ALPHA = 0.05


@dataclass(frozen=True)
class Seed:
    """One seed's difference in the claim's direction, and which sides collapsed on it."""

    difference: float
    arm_collapsed: bool = False
    other_collapsed: bool = False


@dataclass(frozen=True)
class Data:
    """What bears on a claim: seeds with both results, and the range of the difference of each seed that lacks one.

    `tasks`: how many outcomes a score is the mean of, which limits what it can resolve; None: not known, or no mean.
    """

    seeds: Sequence[Seed]
    missing: Sequence[tuple[float, float]] = ()
    tasks: int | None = None

    @property
    def sound(self) -> Array:
        """Differences of the seeds on which neither side collapsed."""
        return np.array([s.difference for s in self.seeds if not (s.arm_collapsed or s.other_collapsed)])

    @property
    def all(self) -> Array:
        """Every difference, collapses included."""
        return np.array([s.difference for s in self.seeds])

    @property
    def only_arm(self) -> int:
        """Seeds on which the arm alone collapsed."""
        return sum(s.arm_collapsed and not s.other_collapsed for s in self.seeds)

    @property
    def only_other(self) -> int:
        """Seeds on which the other side alone collapsed."""
        return sum(s.other_collapsed and not s.arm_collapsed for s in self.seeds)

    @property
    def is_sound(self) -> bool:
        """Whether collapses are the exception, so that the other seeds are what the claim is judged by."""
        return len(self.sound) >= FEWEST and 2 * len(self.sound) >= len(self.seeds)

    @property
    def main(self) -> Array:
        """The differences that the claim is first of all judged by, and whose interval is shown."""
        return self.sound if self.is_sound else self.all

    def floor(self, values_N: Array) -> float:
        """The least spread that these differences can honestly have."""
        return resolution(values_N, self.tasks) if self.tasks else 0.0


@dataclass(frozen=True)
class Decision:
    """`outcome` None: undecided; `p` is then that of the outcome the data lean to. `p_of`: by reading."""

    outcome: Decided | None
    p: float
    p_of: dict[ReadingName, float]

    @property
    def weakest(self) -> ReadingName | None:
        """The reading that the p comes from; None where there is none."""
        return None if math.isnan(self.p) else max(self.p_of.items(), key=lambda item: item[1])[0]


def decide(relation: Relation, margin: float, data: Data, procedure: Procedure) -> Decision:
    """The first outcome of the table that stands up to every reading."""
    for outcome in _outcomes(relation, margin):
        decision = _decision(outcome, relation, margin, data, procedure)
        if decision.p < ALPHA:
            return decision
    return replace(_decision(_leaning(relation, margin, data), relation, margin, data, procedure), outcome=None)


def _leaning(relation: Relation, margin: float, data: Data) -> Decided:
    """The outcome whose p an undecided claim has: the side of its bound that the data are on, or equivalence."""
    if relation == "=":
        return "equivalent"
    return "supported" if len(data.main) and data.main.mean() > bound(relation, margin) else "refuted"


def _outcomes(relation: Relation, margin: float) -> list[Decided]:
    match relation:
        case ">":
            return ["supported", "equivalent", "refuted"] if margin else ["supported", "refuted"]
        case ">=":
            return ["supported", "refuted"]
        case "=":
            return ["equivalent", "refuted"]
        case _:
            assert_never(relation)


def _decision(outcome: Decided, relation: Relation, margin: float, data: Data, procedure: Procedure) -> Decision:
    p_of = {
        name: max(_p(outcome, relation, margin, values, procedure, data.floor(values)) for values in versions)
        for name, versions in readings(outcome, relation, data).items()
    }
    p = max(p_of.values()) if not any(math.isnan(p) for p in p_of.values()) else math.nan
    return Decision(outcome, p, p_of)


def readings(outcome: Decided, relation: Relation, data: Data) -> dict[ReadingName, list[Array]]:
    """Every way of reading the data that the outcome must stand up to, the one that is shown first.

    A list holds the versions of one reading: an equality must survive the missing at their lowest and at their highest.
    """
    found: dict[ReadingName, list[Array]] = {"sound" if data.is_sound else "all": [data.main]}
    if data.is_sound and _collapses_against(outcome, relation, data):
        found["all"] = [data.all]
    if data.missing:
        low, high = (np.array(side) for side in zip(*data.missing, strict=True))
        ends = [low, high] if relation == "=" or outcome == "equivalent" else [low if outcome == "supported" else high]
        tips = len(data.main) < len(data.all) and _collapses_against(outcome, relation, data, len(data.missing))
        known = [data.main, data.all] if tips else [data.main]
        found["worst"] = [np.concatenate([values, end]) for values in known for end in ends]
    return found


def _collapses_against(outcome: Decided, relation: Relation, data: Data, more: int = 0) -> bool:
    """Whether the side that the outcome favours collapsed more often, or would have with so many `more`."""
    match outcome:
        case "supported":
            return data.only_arm + more > data.only_other
        case "refuted":  # of an equality: sides that collapse at different rates are no more equal for it
            return relation != "=" and data.only_other + more > data.only_arm
        case "equivalent":
            return more > 0 or data.only_arm != data.only_other
        case _:
            assert_never(outcome)


def _p(outcome: Decided, relation: Relation, margin: float, x_N: Array, procedure: Procedure, floor: float) -> float:
    """p of one outcome on one version of the data; NaN from fewer than three seeds."""
    if len(x_N) < FEWEST:
        return math.nan
    if not np.isfinite(x_N).all():  # a missing seed of a metric without bounds
        return 1.0
    match outcome:
        case "supported":
            return procedure.p_beyond(x_N, bound(relation, margin), floor)
        case "equivalent":
            return procedure.p_within(x_N, margin, floor)
        case "refuted":
            if relation != "=":
                return procedure.p_beyond(-x_N, -bound(relation, margin), floor)
            return min(procedure.p_beyond(x_N, margin, floor), procedure.p_beyond(-x_N, margin, floor))
        case _:
            assert_never(outcome)


def bound(relation: Relation, margin: float) -> float:
    """The difference that a one-sided claim must be above."""
    return margin if relation == ">" else -margin


def shown(relation: Relation, data: Data, procedure: Procedure) -> Interval:
    """The interval that belongs to the claim: 90 % for an equality (two one-sided tests at 5 % each), else 95 %."""
    level = 1 - 2 * ALPHA if relation == "=" else 1 - ALPHA
    return procedure.interval(data.main, level, data.floor(data.main))
