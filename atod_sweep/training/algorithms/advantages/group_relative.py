"""The reward of an episode against that of the other rollouts of its task. Shapes: _E episodes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from atod_sweep.config.objective import GroupRelative
from atod_sweep.objective.advantages import group_relative
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.play.outcomes import Episodes


class GroupAdvantage:
    """One advantage per episode, for all of its tokens; it has no terms of its own."""

    value_head: ClassVar[bool] = False

    def __init__(self, config: GroupRelative, group_size: int) -> None:
        self.group_size = group_size

    def with_advantage(
        self, policy: Policy, episodes: Episodes, batch: TokenBatch, penalty_N: Tensor, score_tokens: int
    ) -> TokenBatch:
        """Field `advantage`. There are no rewards per token here that a penalty could be taken off."""
        rewards_E = torch.tensor([o.total for o in episodes.outcomes], dtype=torch.float64)
        advantage_E = group_relative(rewards_E.view(-1, self.group_size)).flatten()
        return batch.having(advantage=advantage_E.float().to(batch.ids_ST.device)[batch["episode"]])

    def terms(self, output: Output, batch: TokenBatch) -> dict[str, Tensor]:
        return {}
