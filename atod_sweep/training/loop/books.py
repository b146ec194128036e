"""The books of a trial: its rows with what they have cost so far, its evaluations, and how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from atod_sweep.records.metric_names import EVALUATED
from atod_sweep.training.algorithms.stage import Stage
from atod_sweep.training.loop import samples
from atod_sweep.training.models import kept
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import evaluate_final, evaluated
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.play.retention import Retention
from atod_sweep.training.play.rewards import StandIn
from atod_sweep.training.play.shares import ALONE, Share

Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """How a trial ended: its last evaluation and its final one, if there was any, and what it cost in total."""

    final: dict[str, float]
    cost: dict[str, float]


@dataclass
class Books:
    """Of all processes together. `player` plays the evaluations, whose conversations go into `directory`.

    `untrained`: what the one at step 0 depends on, if trials may have it together.
    """

    directory: Path
    stage: Stage
    player: Player
    accelerator: Accelerator
    retention: Retention | None = None
    untrained: tuple[object, ...] | None = None

    def row(self, step: int, metrics: dict[str, Any], lr: float, seconds: float) -> Row:
        """One training row; moves what was counted into the trial's costs."""
        self.stage.cost["teacher_tokens"] += metrics.pop("teacher_tokens", 0)
        self.stage.cost["updates"] += 1
        extra = {"lr": lr, "temperature": self.stage.temperature(step)}
        return {"phase": "train", "step": step, **means(self._everyone(metrics)), **extra, **self._bill(seconds)}

    def evaluation(self, step: int) -> Row:
        """The student as it is before optimiser step `step`, on the held-out tasks."""
        started, config = time.perf_counter(), self.stage.config.evaluation
        play = partial(evaluated, self.stage.policy, self.player, config, self._share)
        found, played, outcomes = play() if step else kept.untrained(self.untrained, play)
        if self.accelerator.is_main_process:
            temperature = config.temperature or 1.0  # greedy log-probs are those at 1
            said = samples.of(played, self.stage.teacher, temperature, self.stage.score_tokens)
            samples.write(self.directory, step, said)
        found = found | proxy(self.stage.stand_in, outcomes)  # the trial after this one may get the same dictionary
        if self.retention is not None:
            found = found | self.retention.measure(self.stage.policy)
        return {"phase": "eval", "step": step, **found, **self._bill(time.perf_counter() - started, "eval")}

    def final(self) -> Row:
        """The student on the final task sets; {} where there are none."""
        started, config = time.perf_counter(), self.stage.config
        found = evaluate_final(self.stage.policy, self.player, config.evaluation, self._share)
        bill = self._bill(time.perf_counter() - started, "final") if found else {}
        return {"phase": "final", "step": config.steps, **found, **bill} if found else {}

    @property
    def _share(self) -> Share:
        return Share(self.stage.rank, self.stage.world) if self.stage.world > 1 else ALONE

    def result(self, last: Row) -> Result:
        """The end of a trial whose `last` evaluations are these."""
        return Result(numbers(last), self._cost())

    def close(self) -> None:
        """Let go of the environments."""
        self.player.batch.close()
        if self.retention is not None:
            self.retention.close()

    def _bill(self, seconds: float, what: str | None = None) -> dict[str, float]:
        """Add seconds to the trial's costs; all costs so far as `cost/*` (and `seconds/<what>`)."""
        if self.stage.teacher is not None:
            self.stage.cost.update(self.stage.teacher.bill())
        self.stage.cost["seconds"] += seconds  # type: ignore[assignment]  # a Counter adds floats as well
        row = {f"cost/{name}": value for name, value in self._cost().items()}
        return row | ({f"seconds/{what}": seconds} if what else {})

    def _cost(self) -> dict[str, float]:
        """Total costs so far: what every process has played, and the time and updates that they share."""
        everyone = self._everyone(dict(self.stage.cost))
        shared = {name: everyone[0][name] for name in ("seconds", "updates") if name in everyone[0]}
        return {name: sum(cost[name] for cost in everyone) for name in everyone[0]} | shared

    def _everyone(self, mine: dict[str, Any]) -> list[dict[str, Any]]:
        """Every process's dictionary."""
        return [mine] if self.accelerator.num_processes == 1 else list(gather_object([mine]))


def proxy(stand_in: StandIn | None, outcomes: list[Outcome]) -> Row:
    """`eval/proxy`: what training is told of episodes where that is not the environment's reward."""
    if stand_in is None:
        return {}
    stand_in.apply(outcomes)
    return {"eval/proxy": sum(o.total for o in outcomes) / len(outcomes)}


def numbers(row: Row) -> dict[str, float]:
    """The evaluation metrics of a row that are single numbers."""
    told = (*EVALUATED, "final/")
    return {key: value for key, value in row.items() if key.startswith(told) and isinstance(value, int | float)}


def means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every metric over the rows that have it; lists entry by entry, None counting as absent."""
    if len(rows) == 1:
        return rows[0]

    def mean(values: list[Any]) -> Any:
        if isinstance(values[0], list):
            return [mean(list(entries)) for entries in zip(*values, strict=True)]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    names = {name: None for row in rows for name in row}  # in the order of the first row
    return {name: mean([row[name] for row in rows if name in row]) for name in names}
