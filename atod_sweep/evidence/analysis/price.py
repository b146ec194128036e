"""From a ledger's counts and somebody's prices to money: a task, a solved one, and when a training is earned back.

Tokens per turn are those of the rollouts, turns and success those of the last evaluation: a ledger holds no others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from atod_sweep.config.price import Price, TokenPrice
from atod_sweep.config.search import layers
from atod_sweep.config.study import Metric
from atod_sweep.evidence.analysis.comparisons import ArmSummary, summarise
from atod_sweep.evidence.analysis.results import Levels, Results
from atod_sweep.evidence.analysis.scores import mean, teacher_level

SUCCESS, TURNS = Metric(name="eval/success"), Metric(name="eval/turns")
TEACHER = "teacher"


@dataclass(frozen=True)
class Usage:
    """What one task takes at work: tokens read for the first time, read again, written; turns."""

    fresh: float
    again: float
    written: float
    turns: float

    def money(self, price: TokenPrice) -> float:
        """What that costs."""
        return (self.fresh * price.input + self.again * price.cached + self.written * price.output) / 1e6


@dataclass(frozen=True)
class Worth:
    """One arm, or the teacher, at work. `training`: money of one training, 0 for the teacher. NaN: not known."""

    arm: str
    levels: Levels
    success: float
    usage: Usage
    task: float
    training: float
    teacher: float  # money per task that the teacher solves, at the same levels
    on_front: bool = False

    @property
    def solved(self) -> float:
        """Money per solved task; infinite where none is solved."""
        return self.task / self.success if self.success else math.inf

    @property
    def earned_back(self) -> float:
        """Solved tasks after which the training has paid, against the teacher; infinite if it never does."""
        saved = self.teacher - self.solved
        return self.training / saved if saved > 0 else math.inf if not math.isnan(saved) else math.nan


def usage(turns: float, per_turn: float, written_per_turn: float) -> Usage:
    """Of a conversation that grows by as many tokens every turn, of which some are written by the model.

    >>> usage(turns=4, per_turn=10, written_per_turn=2)
    Usage(fresh=32, again=60.0, written=8, turns=4)

    The second turn reads 10 tokens again, the third 20, the last 30.
    """
    return Usage(
        (per_turn - written_per_turn) * turns, per_turn * turns * (turns - 1) / 2, written_per_turn * turns, turns
    )


def worths(results: Results, price: Price) -> list[Worth]:
    """Every arm and the teacher at every condition; those that no other beats in success and money are `on_front`."""
    return [worth for levels in results.conditions for worth in _front(_at(results, levels, price))]


def _at(results: Results, levels: Levels, price: Price) -> list[Worth]:
    costs = {arm: s for arm in results.arms if (s := summarise(results, arm, levels)).scores}
    rates = {arm: _by_turn(s) for arm, s in costs.items()}
    everyone = [mean([rate[i] for rate in rates.values() if not math.isnan(rate[i])]) for i in (0, 1)]
    success, turns = (teacher_level(results, levels, metric) for metric in (SUCCESS, TURNS))
    own = usage(turns, *everyone)
    task = own.money(price.teacher)
    solved = task / success if success else math.inf
    found = [] if math.isnan(task) else [Worth(TEACHER, levels, success, own, task, 0.0, math.nan)]
    for arm, rate in rates.items():
        done = [t for t in results.of(arm, levels) if t.score(SUCCESS) is not None]
        reached, taken = (mean([x for t in done if (x := t.score(m)) is not None]) for m in (SUCCESS, TURNS))
        used = usage(taken, *rate)
        cost, seconds = costs[arm].cost, costs[arm].seconds
        written = cost.get("generated_tokens", math.nan)
        training = (cost.get("tokens", math.nan) - written) * price.student.input + written * price.student.output
        asked = cost.get("teacher_tokens", 0.0) * price.teacher.input
        asked += cost.get("teacher_generated_tokens", 0.0) * price.teacher.output
        training += cost["teacher_money"] * 1e6 if "teacher_money" in cost else asked
        hours = 0.0 if math.isnan(seconds) else seconds / 3600
        money = training / 1e6 + hours * price.hour
        found.append(Worth(arm, levels, reached, used, used.money(price.student), money, solved))
    return found


def _by_turn(arm: ArmSummary) -> list[float]:
    """Tokens of a turn and those written in it, also by a teacher that played it: at work nobody takes over.

    NaN where they were not counted.
    """
    written = arm.cost.get("generated_tokens", math.nan) + arm.cost.get("teacher_generated_tokens", 0.0)
    turns = arm.cost.get("env_steps") or math.nan
    return [arm.cost.get("tokens", math.nan) / turns, written / turns]


def _front(found: list[Worth]) -> list[Worth]:
    rank = layers({i: (w.success, -w.task) for i, w in enumerate(found) if not math.isnan(w.task + w.success)})
    return [replace(w, on_front=rank.get(i) == 0) for i, w in enumerate(found)]
