"""Advantages from rewards; none of them carries gradient.

Shapes: _B trajectories (in group_relative: tasks), _G rollouts per task, _S steps of the estimator: turns or generated
tokens, padded on the right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atod_sweep.errors import UserError

NO_SPREAD = 1e-8  # below this, differences between rewards are rounding and no signal


@torch.no_grad()
def group_relative(rewards_BG: Tensor) -> Tensor:
    """(reward - mean) / (sample standard deviation + 1e-4) within each row, the G rollouts of one task.

    Computed in float64 and returned in the dtype of `rewards_BG` (float64 for integers): float32 leaves up to 0.7 where
    all rewards are equal. A row whose largest and smallest reward are less than 1e-8 apart gives exactly 0; NaN stays
    in its row. Raises UserError for G < 2. Source: arXiv 2606.27814.

    | rewards    | advantages                  |
    |------------|-----------------------------|
    | 1, 0       | 0.707007, -0.707007         |
    | 1, 0, 0, 0 | 1.4997, -0.4999 three times |
    | 1, 1       | 0, 0                        |

    >>> [round(a, 6) for a in group_relative(torch.tensor([[1.0, 0.0]]))[0].tolist()]
    [0.707007, -0.707007]
    >>> [round(a, 4) for a in group_relative(torch.tensor([[1, 0, 0, 0]]))[0].tolist()]
    [1.4997, -0.4999, -0.4999, -0.4999]
    >>> group_relative(torch.tensor([[1.0, 1.0]])).tolist()
    [[0.0, 0.0]]
    """
    if rewards_BG.dim() != 2 or rewards_BG.shape[1] < 2:
        raise UserError(
            f"group_relative: needs rewards [tasks, rollouts] with at least 2 rollouts per task, "
            f"got shape {list(rewards_BG.shape)}; raise rollout.group_size"
        )
    r_BG = rewards_BG.double()
    advantage_BG = (r_BG - r_BG.mean(1, keepdim=True)) / (r_BG.std(1, keepdim=True) + 1e-4)
    spread_B1 = r_BG.amax(1, keepdim=True) - r_BG.amin(1, keepdim=True)
    advantage_BG.masked_fill_(spread_B1 < NO_SPREAD, 0.0)
    return advantage_BG.to(rewards_BG.dtype) if rewards_BG.is_floating_point() else advantage_BG


@torch.no_grad()
def gae(
    rewards_BS: Tensor, values_BS: Tensor, last_value_B: Tensor, mask_BS: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv 1506.02438, equation 16): (advantage_BS, return_BS), 0 at padding.

    `values_BS` are the values before each step, `last_value_B` the value after the last valid one: the bootstrap of a
    truncated trajectory, 0 for a terminated one. `mask_BS` is 1 on a prefix of each row. The return, the target of the
    value head, is advantage + value. `gamma` and `lam` are per step. Raises UserError if the mask has a gap.

    Three steps, reward 1 at the end, values ½, gamma 1: the temporal differences are 0, 0, ½, and lambda carries the
    last one back.

    | lambda | advantages       |
    |--------|------------------|
    | 0      | 0, 0, 0.5        |
    | 0.5    | 0.125, 0.25, 0.5 |
    | 1      | 0.5, 0.5, 0.5    |

    >>> rewards, values, mask = torch.tensor([[0.0, 0.0, 1.0]]), torch.full((1, 3), 0.5), torch.ones(1, 3)
    >>> [gae(rewards, values, torch.zeros(1), mask, gamma=1.0, lam=lam)[0].tolist()[0] for lam in (0.0, 0.5, 1.0)]
    [[0.0, 0.0, 0.5], [0.125, 0.25, 0.5], [0.5, 0.5, 0.5]]
    """
    mask_BS = mask_BS.bool()
    if (mask_BS[:, 1:] & ~mask_BS[:, :-1]).any():
        raise UserError("gae: the mask has a gap; trajectories must be padded on the right")
    is_last_BS = mask_BS.clone()
    is_last_BS[:, :-1] &= ~mask_BS[:, 1:]
    next_value_BS = torch.where(is_last_BS, last_value_B[:, None], values_BS.roll(-1, 1))
    delta_BS = torch.where(mask_BS, rewards_BS + gamma * next_value_BS - values_BS, 0.0)

    advantage_SB = delta_BS.T.contiguous()
    for step in range(len(advantage_SB) - 2, -1, -1):
        advantage_SB[step].add_(advantage_SB[step + 1], alpha=gamma * lam)
    advantage_BS = advantage_SB.T.contiguous()
    return advantage_BS, torch.where(mask_BS, advantage_BS + values_BS, 0.0)


@torch.no_grad()
def whiten(x: Tensor, mask: Tensor, among: Tensor | None = None) -> Tensor:
    """`x` shifted and scaled where `mask` is 1, so that `among` has mean 0 and sample variance 1; 0 elsewhere.

    `among` is flat and defaults to the entries of `x` where `mask` is 1; data parallelism passes every process's.
    All zeros if `among` has fewer than two entries or if they are less than 1e-8 apart. float64 inside.

    >>> whiten(torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.tensor([1, 1, 1, 0])).tolist()
    [-1.0, 0.0, 1.0, 0.0]
    """
    mask = mask.bool()
    valid = x[mask].double()
    among = valid if among is None else among.double()
    result = torch.zeros_like(x)
    if len(among) >= 2 and not among.max() - among.min() < NO_SPREAD:
        result[mask] = ((valid - among.mean()) / among.std()).to(x.dtype)
    return result
