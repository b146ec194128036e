"""Who plays which turn of a step's episodes, and how deep they go: the schedules of `rollout.takeover` and `depth`.

Every draw has a stream of its own by step, so it needs no state, and disturbs no other. Shapes: _E episodes, _K turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from atod_sweep.config.schedules import ClosedForm
from atod_sweep.config.takeover import Depth, Takeover
from atod_sweep.config.train import Train
from atod_sweep.objective.profiles import profile
from atod_sweep.objective.schedules import build, progress
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.play.wheel import Wheel
from atod_sweep.training.randomness import numpy_generator, torch_generator
from atod_sweep.training.teachers.teacher import Action, State, Teacher


class Turns:
    """Of a trial (of one of its processes, `rank`): the wheel of every step."""

    def __init__(self, config: Train, teacher: Teacher | None, rank: int) -> None:
        self.config, self.teacher, self.rank = config, teacher, rank
        self.takeover: Takeover | None = config.rollout.takeover
        self.depth: Depth | None = config.rollout.depth
        self.profile_K = np.array(profile(self.takeover.turns, config.env.horizon)) if self.takeover else None

    def told(self, step: int) -> dict[str, float]:
        """What is in force at a step: the chance that the teacher plays a turn, and how many the student may play."""
        found: dict[str, float] = {}
        if self.takeover is not None:
            found["takeover"] = self._at(self.takeover.probability, step)
        if self.depth is not None:
            found["depth"] = self.depth.turns(self._at(self.depth.share, step), self.config.env.horizon)
        return found

    def seen(self, outcomes: list[Outcome]) -> dict[str, float]:
        """What became of it: the share of turns that the teacher played, and of episodes that were cut."""
        found: dict[str, float] = {}
        if self.config.rollout.teacher_plays:
            found["teacher_turns"] = float(np.mean([act.taken is not None for one in outcomes for act in one.acts]))
        if self.depth is not None and self.depth.begins_at_start:
            found["episodes_cut"] = float(np.mean([outcome.cut for outcome in outcomes]))
        return found

    def wheel(self, step: int, episodes: int, temperature: float, device: torch.device) -> Wheel | None:
        """None where the student plays whole episodes by itself."""
        if self.takeover is None and self.depth is None:
            return None
        told, horizon = self.told(step), self.config.env.horizon
        taken_EK = np.zeros((episodes, horizon), dtype=bool)
        if self.profile_K is not None:
            draws = numpy_generator(self.config.seed, f"takeover {step} {self.rank}")
            taken_EK = draws.random((episodes, horizon)) < told["takeover"] * self.profile_K
        cut = None
        if self.depth is not None and self.depth.begins_at_start:
            cut = int(told["depth"])
        elif self.depth is not None:
            taken_EK[:, : horizon - int(told["depth"])] = True

        def act(states: Sequence[State], turn: int) -> list[Action]:
            assert self.teacher is not None
            name = f"teacher's turns {step} {turn} {self.rank}"
            return self.teacher.act(states, temperature, torch_generator(self.config.seed, name, device))

        return Wheel(taken_EK, act, cut)

    def _at(self, schedule: ClosedForm, step: int) -> float:
        return build(schedule).value(progress(step, self.config.steps, schedule))
