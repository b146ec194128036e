"""What null controls put in the place of the teacher's word, one function each, and their table.

Shapes: _N generated tokens, _K turns of the batch, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atod_sweep.config.kinds import one_each
from atod_sweep.config.stand_ins import ConstantPush, ShuffledTeacher, StandIn
from atod_sweep.training.algorithms.stage import Metrics
from atod_sweep.training.batch import TokenBatch

Put = Callable[[TokenBatch, Any, np.random.Generator], tuple[TokenBatch, Metrics]]


def shuffled(batch: TokenBatch, config: ShuffledTeacher, rng: np.random.Generator) -> tuple[TokenBatch, Metrics]:
    """Every `teacher_...` field taken from another turn; `alone` marks the tokens of turns that have no partner."""
    turn_N = torch.unique_consecutive(torch.stack([batch["episode"], batch["turn"]]), dim=1, return_inverse=True)[1]
    partner_N, alone_N = partners(turn_N.cpu().numpy(), rng)
    where_N = torch.as_tensor(partner_N, device=turn_N.device)
    moved = {name: values[where_N] for name, values in batch.fields.items() if name.startswith("teacher_")}
    alone = torch.as_tensor(alone_N, device=turn_N.device)
    return batch.having(**moved, alone=alone), {"turns_alone": len(np.unique(turn_N.cpu().numpy()[alone_N]))}


def partners(turn_N: np.ndarray[Any, Any], rng: np.random.Generator) -> tuple[Any, Any]:
    """For every token the one at its place in another turn of equal length, and whether its turn has no such partner.

    `turn_N` numbers the turns that tokens belong to, in order. Turns of one length pass their rows on around a circle
    in which they stand at random: none keeps its own unless it is alone.

    >>> partner_N, alone_N = partners(np.array([0, 0, 1, 2, 2]), np.random.default_rng(0))
    >>> partner_N.tolist(), alone_N.tolist()
    ([3, 4, 2, 0, 1], [False, False, True, False, False])
    """
    length_K = np.bincount(turn_N)
    start_K = length_K.cumsum() - length_K
    partner_K, alone_K = np.arange(len(length_K)), np.zeros(len(length_K), dtype=bool)
    for length in np.unique(length_K):
        circle = rng.permutation(np.flatnonzero(length_K == length))
        partner_K[circle] = np.roll(circle, 1)
        alone_K[circle] = len(circle) == 1
    rank_N = np.arange(len(turn_N)) - start_K[turn_N]
    return start_K[partner_K[turn_N]] + rank_N, alone_K[turn_N]


def pushed(batch: TokenBatch, config: ConstantPush, rng: np.random.Generator) -> tuple[TokenBatch, Metrics]:
    """The field `pull`: -push on the least likely share of the tokens, else 0."""
    least = lowest(batch["old_logp"], config.lowest)
    return batch.having(pull=-config.push * least), {}


def lowest(logp_N: Tensor, share: float) -> Tensor:
    """1 on this share of the tokens, those of the lowest log-probs, but at least on one; 0 on the others.

    >>> lowest(torch.tensor([-1.0, -4.0, -2.0, -3.0, -0.5]), 0.4).tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """
    least = logp_N.topk(max(1, int(share * len(logp_N))), largest=False).indices
    return torch.zeros_like(logp_N).index_fill_(0, least, 1.0)


STAND_INS: dict[str, Put] = one_each(
    StandIn,
    {
        "shuffled_teacher": shuffled,
        "random_teacher": lambda batch, *_: (batch, {}),  # it says what it says (`loop/cast.py` makes it)
        "constant_push": pushed,
    },
)
