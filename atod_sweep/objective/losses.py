"""Loss terms per token or per pair. Shapes: _N generated tokens, _P pairs.

Whoever adds terms up divides every one by the *unweighted* number of generated tokens of the whole batch (`update`):
dividing by a weighted count would let one coefficient rescale the gradients of the others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def clipped_surrogate(logp_N: Tensor, old_logp_N: Tensor, advantage_N: Tensor, clip: float) -> Tensor:
    """-min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A) with ratio = p / p_old (PPO, arXiv 1707.06347, eq. 7).

    With clip 0.2:

    | ratio | advantage 1 | advantage -1 |
    |-------|-------------|--------------|
    | 0.5   | -0.5        | 0.8          |
    | 1     | -1          | 1            |
    | 1.5   | -1.2        | 1.5          |

    >>> logp, old = torch.tensor([0.5, 1.0, 1.5]).log(), torch.zeros(3)
    >>> [[round(x, 6) for x in clipped_surrogate(logp, old, a * torch.ones(3), 0.2).tolist()] for a in (1.0, -1.0)]
    [[-0.5, -1.0, -1.2], [0.8, 1.0, 1.5]]
    """
    ratio_N = (logp_N - old_logp_N.detach()).exp()
    advantage_N = advantage_N.detach()
    return -torch.minimum(ratio_N * advantage_N, ratio_N.clamp(1.0 - clip, 1.0 + clip) * advantage_N)


def clipped_value(value: Tensor, old_value: Tensor, target: Tensor, clip: float) -> Tensor:
    """max((v - target)^2, (v_clipped - target)^2) / 2, v_clipped within `clip` of the old value; any shape.

    With old value 0, target 1, clip 0.2:

    | value | -0.5  | 0.1   | 0.5  | 1.5  |
    |-------|-------|-------|------|------|
    | loss  | 1.125 | 0.405 | 0.32 | 0.32 |

    >>> values = torch.tensor([-0.5, 0.1, 0.5, 1.5])
    >>> [round(x, 6) for x in clipped_value(values, torch.zeros(4), torch.ones(4), 0.2).tolist()]
    [1.125, 0.405, 0.32, 0.32]
    """
    old_value, target = old_value.detach(), target.detach()
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum((value - target).square(), (clipped - target).square()) / 2.0


def dpo(
    chosen_logp_P: Tensor, rejected_logp_P: Tensor, ref_chosen_P: Tensor, ref_rejected_P: Tensor, beta: float
) -> Tensor:
    """-log sigmoid(beta ((chosen - ref_chosen) - (rejected - ref_rejected))) (arXiv 2305.18290, equation 7).

    Log-probs are sums over the generated tokens of a whole episode. With beta 2 and references of 0:

    | chosen - rejected | 0        | 1.5      | -1.5     |
    |-------------------|----------|----------|----------|
    | loss              | 0.693147 | 0.048587 | 3.048587 |

    >>> zero = torch.zeros(3)
    >>> [round(x, 6) for x in dpo(torch.tensor([0.0, 1.5, -1.5]), zero, zero, zero, beta=2.0).tolist()]
    [0.693147, 0.048587, 3.048587]
    """
    margin_P = (chosen_logp_P - ref_chosen_P.detach()) - (rejected_logp_P - ref_rejected_P.detach())
    return -logsigmoid(beta * margin_P)
