"""SPIN: the teacher's episodes against those of an earlier self on the same tasks (arXiv 2401.01335)."""

from __future__ import annotations

from typing import Any

import torch

from atod_sweep.config import objective
from atod_sweep.config.train import Train
from atod_sweep.training.algorithms.preferences import Preferring, with_preferences
from atod_sweep.training.algorithms.stage import Collected, Needs, Stage
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.teachers.teacher import Teacher


class SPIN(Preferring):
    """The opponent, which is also the reference, becomes the current student every `refresh_steps`: an iteration.

    Half of the step's episodes are played by each, so that a step costs as many as any other objective's.
    """

    @classmethod
    def needs(cls, config: Train) -> Needs:
        return Needs(reference="renewed", value_head=False, shared_vocabulary=True)

    def __init__(self, config: Train, teacher: Teacher | None, reference: Policy | None) -> None:
        assert isinstance(config.objective, objective.SPIN)
        super().__init__(config.objective.beta, reference)
        self.refresh_steps = config.objective.refresh_steps
        self.reference.folded = None  # its weights will be renewed

    def collect(self, stage: Stage, step: int) -> Collected:
        """Renew the opponent if it is time; let the teacher and the opponent play the same tasks."""
        if step and step % self.refresh_steps == 0:
            with torch.no_grad():
                for mine, theirs in zip(self.reference.parameters(), stage.policy.parameters(), strict=True):
                    mine.copy_(theirs)
        tasks = stage.draw_tasks()[::2]
        chosen, outcomes = stage.teacher_episodes(tasks, step)
        rejected = TokenBatch.of(stage.play(self.reference, step, tasks=tasks))
        pairs = [(i, i + len(tasks)) for i in range(len(tasks))]
        batch, metrics = with_preferences(
            chosen.joined(rejected), pairs, stage.policy, self.reference, self.beta, stage.score_tokens
        )
        return Collected(batch, outcomes, metrics)

    def state_dict(self) -> dict[str, Any]:
        return {"opponent": {name: p.detach() for name, p in self.reference.named_parameters()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, parameter in self.reference.named_parameters():
                parameter.copy_(state["opponent"][name])
