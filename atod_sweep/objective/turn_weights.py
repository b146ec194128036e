"""T-DUR: weights for the distillation term from the sampled tokens of each trajectory (arXiv 2606.27814).

Turns on which the student disagrees with the teacher, or is unsure of itself, count more. Log-probs are those of the
sampled tokens at the sampling temperature; weights carry no gradient. Shapes: _B trajectories, _T positions, _K turns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NO_SPREAD = 1e-8  # nats; below this, all turns of a trajectory count as equal


@torch.no_grad()
def t_dur(student_logp_BT: Tensor, teacher_logp_BT: Tensor, turn_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """weight_BK in [0, 1] of every turn k = 0 .. K - 1, K the largest turn index of a generated token plus 1.

    `turn_BT` holds turn indices (anything where `mask_BT`, the generated tokens, is 0). With the means over a turn's
    generated tokens d = |log p_student - log p_teacher| and h = -log p_student, each scaled to [0, 1] over the turns of
    its own trajectory (0.5 if they are less than 1e-8 apart), the weight is `1 - (1 - d)(1 - h)`. Turns without
    generated tokens take no part and get 0. float64 inside: in float32 equal turns differ by more than 1e-8.

    Three turns of one token each:

    | turn | student | teacher | d scaled | h scaled | weight |
    |------|---------|---------|----------|----------|--------|
    | 0    | -1      | -1      | 0        | 0        | 0      |
    | 1    | -2      | -3      | ½        | ½        | ¾      |
    | 2    | -3      | -1      | 1        | 1        | 1      |

    >>> student, teacher = torch.tensor([[-1.0, -2.0, -3.0]]), torch.tensor([[-1.0, -3.0, -1.0]])
    >>> t_dur(student, teacher, torch.tensor([[0, 1, 2]]), torch.ones(1, 3)).tolist()
    [[0.0, 0.75, 1.0]]
    """
    mask_BT = mask_BT.bool()
    turn_BT = turn_BT.long().masked_fill(~mask_BT, 0)
    turns = int(turn_BT.max()) + 1

    def per_turn(x_BT: Tensor) -> Tensor:
        sums_BK = x_BT.new_zeros(len(x_BT), turns)
        return sums_BK.scatter_add_(1, turn_BT, x_BT.masked_fill(~mask_BT, 0.0))

    student_BT = student_logp_BT.double()
    tokens_BK = per_turn(torch.ones_like(student_BT))
    gap_BK = per_turn((student_BT - teacher_logp_BT).abs()) / tokens_BK
    surprise_BK = per_turn(-student_BT) / tokens_BK
    return _soft_or(gap_BK, surprise_BK, tokens_BK > 0).to(student_logp_BT.dtype)


@torch.no_grad()
def t_dur_tokens(student_logp_BT: Tensor, teacher_logp_BT: Tensor, turn_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """weight_BT: that of the turn (see `t_dur`) that each generated token belongs to; 0 where `mask_BT` is 0.

    >>> student, teacher = torch.tensor([[-1.0, -1.0, 0.0, -3.0]]), torch.tensor([[-1.0, -1.0, 0.0, -1.0]])
    >>> t_dur_tokens(student, teacher, torch.tensor([[0, 0, 0, 1]]), torch.tensor([[1, 1, 0, 1]])).tolist()
    [[0.0, 0.0, 0.0, 1.0]]
    """
    turn_BT = turn_BT.long().masked_fill(~mask_BT.bool(), 0)
    weight_BK = t_dur(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT)
    return weight_BK.gather(1, turn_BT).masked_fill(~mask_BT.bool(), 0.0)


@torch.no_grad()
def token_level(student_logp_BT: Tensor, teacher_logp_BT: Tensor, turn_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """weight_BT in [0, 1]: T-DUR's formula with every generated token as a turn of its own; 0 where `mask_BT` is 0.

    >>> student, teacher = torch.tensor([[-1.0, -2.0, -3.0]]), torch.tensor([[-1.0, -3.0, -1.0]])
    >>> token_level(student, teacher, torch.zeros(1, 3), torch.ones(1, 3)).tolist()
    [[0.0, 0.75, 1.0]]
    """
    student_BT = student_logp_BT.double()
    return _soft_or((student_BT - teacher_logp_BT).abs(), -student_BT, mask_BT.bool()).to(student_logp_BT.dtype)


def _soft_or(gap_BK: Tensor, surprise_BK: Tensor, valid_BK: Tensor) -> Tensor:
    either_BK = 1.0 - (1.0 - _min_max(gap_BK, valid_BK)) * (1.0 - _min_max(surprise_BK, valid_BK))
    return either_BK.masked_fill(~valid_BK, 0.0)


def _min_max(x_BK: Tensor, valid_BK: Tensor) -> Tensor:
    low_B1 = x_BK.masked_fill(~valid_BK, math.inf).amin(1, keepdim=True)
    spread_B1 = x_BK.masked_fill(~valid_BK, -math.inf).amax(1, keepdim=True) - low_B1
    return ((x_BK - low_B1) / spread_B1).masked_fill(spread_B1 < NO_SPREAD, 0.5)


# Kind of turn profile -> weight of every token, from (student_logp_BT, teacher_logp_BT, turn_BT, mask_BT).
WEIGHTS = {"t_dur": t_dur_tokens, "product": t_dur_tokens, "token_level": token_level}
