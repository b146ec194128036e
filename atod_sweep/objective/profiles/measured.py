"""What some turn profiles put on top of g(k): weights of tokens from the log-probs of each trajectory. Needs torch.

Shapes: _B trajectories, _T positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atod_sweep.config.turns import CustomTurns, TurnProfile
from atod_sweep.errors import UserError
from atod_sweep.objective import turn_weights


def weights(
    config: TurnProfile, student_logp_BT: Tensor, teacher_logp_BT: Tensor, turn_BT: Tensor, mask_BT: Tensor
) -> Tensor:
    """weight_BT of the distillation term, from log-probs of the sampled tokens; without gradient.

    `turn_BT` holds turn indices; `mask_BT` is 1 on generated tokens, and what lies elsewhere is not read. Raises
    UserError where a profile of the user's own gives anything but one finite weight of at least 0 per token.

    >>> from atod_sweep.config.turns import TDur
    >>> student, teacher = torch.tensor([[-1.0, -2.0, -3.0]]), torch.tensor([[-1.0, -3.0, -1.0]])
    >>> weights(TDur(), student, teacher, torch.tensor([[0, 1, 2]]), torch.ones(1, 3)).tolist()
    [[0.0, 0.75, 1.0]]
    """
    with torch.no_grad():
        if isinstance(config, CustomTurns):
            found = config.function(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT)
            _check(config.path, found, mask_BT)
            return found.to(student_logp_BT.dtype)
        return turn_weights.WEIGHTS[config.kind](student_logp_BT, teacher_logp_BT, turn_BT, mask_BT)


def _check(path: str, weight_BT: object, mask_BT: Tensor) -> None:
    if not isinstance(weight_BT, Tensor) or weight_BT.shape != mask_BT.shape:
        got = list(weight_BT.shape) if isinstance(weight_BT, Tensor) else type(weight_BT).__name__
        raise UserError(f"path: {path!r} must give one weight per token, a tensor {list(mask_BT.shape)}; got {got}")
    used = weight_BT[mask_BT.bool()]
    if not ((used >= 0) & used.isfinite()).all():
        worst = used[~((used >= 0) & used.isfinite())][0].item()
        raise UserError(f"path: {path!r} gives a token the weight {worst}; weights are finite and at least 0")
