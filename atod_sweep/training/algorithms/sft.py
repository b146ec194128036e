"""SFT: cross-entropy on episodes that the teacher plays."""

from __future__ import annotations

from torch import Tensor

from atod_sweep.config.train import Train
from atod_sweep.training.algorithms.stage import Algorithm, Collected, Needs, Stage
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.teachers.teacher import Teacher


class SFT(Algorithm):
    """Learns from the teacher's text, so the teacher's vocabulary may differ from the student's."""

    @classmethod
    def needs(cls, config: Train) -> Needs:
        return Needs(reference="none", value_head=False, shared_vocabulary=False)

    def __init__(self, config: Train, teacher: Teacher | None, reference: Policy | None) -> None:
        """The teacher plays on the stage; nothing else is needed."""

    def collect(self, stage: Stage, step: int) -> Collected:
        batch, outcomes = stage.teacher_episodes(stage.draw_tasks(), step)
        return Collected(batch, outcomes, {})

    def terms(self, output: Output, batch: TokenBatch, split: bool = False) -> dict[str, Tensor]:
        return {"sft": -batch.logp(output.logits_NV, 1.0).sum()}
