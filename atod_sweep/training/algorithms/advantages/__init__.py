"""Advantages of the reward on token batches, one file each, and the table of them.

To add one: its record in `config/objective.py`, a file here, and a line in `ADVANTAGES`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from torch import Tensor

from atod_sweep.config import objective
from atod_sweep.config.kinds import one_each
from atod_sweep.training.algorithms.advantages.gae import GeneralisedAdvantage
from atod_sweep.training.algorithms.advantages.group_relative import GroupAdvantage
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.play.outcomes import Episodes


class Advantage(Protocol):
    """How rewards become advantages. `value_head`: whether it needs values of states, also of those reached last."""

    value_head: ClassVar[bool]

    def __init__(self, config: Any, group_size: int) -> None:
        """From its config and the number of rollouts per task."""

    def with_advantage(
        self, policy: Policy, episodes: Episodes, batch: TokenBatch, penalty_N: Tensor, score_tokens: int
    ) -> TokenBatch:
        """The batch with the field `advantage`, and whatever its own terms need."""

    def terms(self, output: Output, batch: TokenBatch) -> dict[str, Tensor]:
        """Its own weighted terms of the loss, each summed over tokens."""


ADVANTAGES: dict[str, type[Advantage]] = one_each(
    objective.Advantage, {"group_relative": GroupAdvantage, "gae": GeneralisedAdvantage}
)
