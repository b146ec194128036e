"""Where episodes are played: the models, the environments, the task stream and the bill."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from atod_sweep.config.train import Train
from atod_sweep.envs.contract import TRAIN_SEEDS
from atod_sweep.objective.schedules import build, progress
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Episodes, Outcome
from atod_sweep.training.play.rewards import StandIn
from atod_sweep.training.teachers.takeover import Turns
from atod_sweep.training.teachers.teacher import Teacher

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Collected:
    """One step's batch, ready for the update, and what was seen while it was made."""

    batch: TokenBatch
    outcomes: list[Outcome]
    metrics: Metrics
    score_seconds: float = 0.0


@dataclass(frozen=True)
class Needs:
    """What an objective needs beside the student.

    `reference`: a frozen copy of the initial student; `renewed`: one whose weights will be taken from the student again
    and which plays, too. `value_head`: on the student. `shared_vocabulary`: with the teacher, if there is one.
    """

    reference: Literal["none", "frozen", "renewed"]
    value_head: bool
    shared_vocabulary: bool


class Algorithm(ABC):
    """What an objective has to provide; it is made from a trial's config, its teacher and its reference."""

    @classmethod
    @abstractmethod
    def needs(cls, config: Train) -> Needs:
        """What a trial of this config has to prepare."""

    @abstractmethod
    def __init__(self, config: Train, teacher: Teacher | None, reference: Policy | None) -> None:
        """From what `needs` asked for."""

    @abstractmethod
    def collect(self, stage: Stage, step: int) -> Collected:
        """Play and prepare one step's batch."""

    @abstractmethod
    def terms(self, output: Output, batch: TokenBatch, split: bool = False) -> dict[str, Tensor]:
        """Weighted loss terms, each summed over the tokens of (a part of) that batch."""

    def measured(self, metrics: Metrics) -> None:  # noqa: B027  (as many do)
        """Learn of the step's metrics (adaptive weights do); by default nothing is."""

    def state_dict(self) -> dict[str, Any]:
        """State for checkpoints, beside the student: numbers, strings, containers of them, tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """The inverse of `state_dict`."""


@dataclass
class Stage:
    """`rank` of `world` processes plays its own share of every step's tasks."""

    config: Train
    policy: Policy
    player: Player
    teacher: Teacher | None
    tasks: np.random.Generator
    sampling: torch.Generator
    score_tokens: int
    rank: int = 0
    world: int = 1
    cost: Counter[str] = field(default_factory=Counter)
    stand_in: StandIn | None = None
    """What rewards episodes in the place of the environment."""

    def __post_init__(self) -> None:
        self._temperature = build(self.config.rollout.temperature)
        self.turns = Turns(self.config, self.teacher, self.rank)
        if self.config.rollout.teacher_plays:
            self.cost["teacher_generated_tokens"] = 0  # in every process, from the start

    def temperature(self, step: int) -> float:
        """Sampling temperature of optimiser step `step`."""
        return self._temperature.value(progress(step, self.config.steps, self.config.rollout.temperature))

    def draw_tasks(self) -> list[int]:
        """Task seeds of the next step's episodes, `group_size` of each task in a row."""
        rollout = self.config.rollout
        tasks = self.tasks.integers(TRAIN_SEEDS.start, TRAIN_SEEDS.stop, size=rollout.tasks).tolist()
        return [task for task in tasks[self.rank :: self.world] for _ in range(rollout.group_size)]

    def play(self, policy: Policy, step: int, tasks: list[int] | None = None, bootstrap: bool = False) -> Episodes:
        """Episodes of `policy` at the step's temperature, on the next tasks unless `tasks` are given; billed.

        The teacher plays the turns that the config gives it at this step.
        """
        tasks, warmth = self.draw_tasks() if tasks is None else tasks, self.temperature(step)
        wheel = self.turns.wheel(step, len(tasks), warmth, policy.device)
        episodes = self.player.play(policy, tasks, "train", warmth, self.sampling, bootstrap, wheel=wheel)
        if self.stand_in is not None:
            self.stand_in.apply(episodes.outcomes, step)
        self.cost.update(episodes.cost)
        return episodes

    def teacher_episodes(self, tasks: list[int], step: int) -> tuple[TokenBatch, list[Outcome]]:
        """Episodes that the teacher plays, as tokens of the student's vocabulary; billed."""
        assert self.teacher is not None
        shown = self.teacher.play(tasks, self.temperature(step), self.sampling)
        self.cost.update(shown.cost)
        return shown.batch, shown.outcomes
