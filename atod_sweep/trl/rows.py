"""Episodes of several sequences in TRL, which knows one each: whose its rows are, and the turns in their order.

A template that renders every turn anew makes each turn a sequence of its own, and so does a prompt that remembers a few
steps; a conversation that outgrows its context goes on in another one. Shapes: _B rows of a batch, _E episodes, _T
positions of completions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Weights = Callable[..., tuple[Tensor, Tensor]]


def passes_of(batch: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The batch in `count` passes of as many whole episodes each; rows of `episode` B rise."""
    episode_B = batch["episode"]
    each = (int(episode_B.max()) + 1) // count
    parts = [(episode_B // each == i) for i in range(count)]
    return [
        {name: value[part] if isinstance(value, Tensor) and value.ndim else value for name, value in batch.items()}
        for part in parts
    ]


def over_episodes(weights: Weights, episode_B: Tensor) -> Weights:
    """The export's `token_weights`, which takes a row for an episode, of rows that are parts of episodes.

    The rows of an episode are laid behind one another, with a gap that ends a turn.
    """
    place_B, count_E = episode_B.unique_consecutive(return_inverse=True, return_counts=True)[1:]
    rank_B = torch.arange(len(episode_B), device=episode_B.device) - (count_E.cumsum(0) - count_E)[place_B]

    def together(x_BT: Tensor) -> Tensor:
        out = x_BT.new_zeros(len(count_E), int(count_E.max()), x_BT.shape[1] + 1)
        out[place_B, rank_B, :-1] = x_BT
        return out.flatten(1)

    def found(
        step: int, mask_BT: Tensor, total: int, horizon: int, student: Tensor | None, teacher: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        logps = [None if x_BT is None else together(x_BT) for x_BT in (student, teacher)]
        both = weights(step, together(mask_BT), total, horizon, *logps)
        distill, reward = (x.view(len(count_E), -1, mask_BT.shape[1] + 1)[place_B, rank_B, :-1] for x in both)
        return distill, reward

    return found
