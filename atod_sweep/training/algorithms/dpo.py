"""DPO: the student's own best against its own worst rollout of each task; reference: the initial student."""

from __future__ import annotations

from atod_sweep.config import objective
from atod_sweep.config.train import Train
from atod_sweep.training.algorithms.preferences import Preferring, with_preferences
from atod_sweep.training.algorithms.stage import Collected, Needs, Stage
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.teachers.teacher import Teacher


def best_and_worst(outcomes: list[Outcome], group_size: int) -> list[tuple[int, int]]:
    """(chosen, rejected) episode of every task whose rollouts differ in reward: its first best and its first worst."""
    pairs = []
    for start in range(0, len(outcomes), group_size):
        group = range(start, min(start + group_size, len(outcomes)))
        chosen = max(group, key=lambda e: (outcomes[e].total, -e))
        rejected = min(group, key=lambda e: (outcomes[e].total, e))
        if outcomes[chosen].total > outcomes[rejected].total:
            pairs.append((chosen, rejected))
    return pairs


class DPO(Preferring):
    """Direct preference optimisation (arXiv 2305.18290), on pairs that the student plays itself."""

    @classmethod
    def needs(cls, config: Train) -> Needs:
        return Needs(reference="frozen", value_head=False, shared_vocabulary=True)

    def __init__(self, config: Train, teacher: Teacher | None, reference: Policy | None) -> None:
        assert isinstance(config.objective, objective.DPO)
        super().__init__(config.objective.beta, reference)
        self.group_size = config.rollout.group_size

    def collect(self, stage: Stage, step: int) -> Collected:
        """Let the student play every task several times, and pair what came out."""
        episodes = stage.play(stage.policy, step)
        pairs = best_and_worst(episodes.outcomes, self.group_size)
        batch, metrics = with_preferences(
            TokenBatch.of(episodes), pairs, stage.policy, self.reference, self.beta, stage.score_tokens
        )
        return Collected(batch, episodes.outcomes, metrics)
