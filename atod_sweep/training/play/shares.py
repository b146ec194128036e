"""Which episodes of a play are whose, where several processes play them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

Found = TypeVar("Found")


@dataclass(frozen=True)
class Share:
    """That of process `rank` of `world`: every `world`-th. Of fewer episodes than processes, everybody plays all."""

    rank: int
    world: int

    def of(self, episodes: int) -> range:
        """The numbers of its episodes."""
        return range(episodes) if episodes < self.world else range(self.rank, episodes, self.world)

    def gathered(self, mine: Sequence[Found], episodes: int) -> list[Found]:
        """What everybody found, one for each episode, in the order of their numbers. Every process must ask."""
        if self.world == 1 or episodes < self.world:
            return list(mine)
        found: list[Sequence[Found]] = [[]] * self.world
        torch.distributed.all_gather_object(found, mine)
        return [found[episode % self.world][episode // self.world] for episode in range(episodes)]


ALONE = Share(0, 1)
