"""Weights for every generated token of a batch of episodes, from schedule.py. Needs torch.

Shapes: _B episodes, _T positions. A turn is a run of generated tokens; what lies between two runs is what the
environment said.
"""

from __future__ import annotations

from typing import Any

import schedule  # type: ignore[import-not-found,unused-ignore]
import torch

MEASURED = "turns" in schedule.SPEC["measured"]


def turns_of(mask_BT: torch.Tensor) -> torch.Tensor:
    """Turn index, from 0, of every generated token (mask 1); elsewhere that of the turn before."""
    mask_BT = mask_BT.bool()
    starts_BT = mask_BT.clone()
    starts_BT[:, 1:] &= ~mask_BT[:, :-1]
    return (starts_BT.cumsum(1) - 1).clamp(min=0)


def is_taught(step: int, total_steps: int, horizon: int) -> bool:
    """False where the teacher's weight is exactly 0 on every turn, so that it need not be called."""
    found = [schedule.weights(step, k, total_steps, horizon, turn_weight=1.0)["distill"] for k in range(horizon)]
    return any(weight != 0.0 for weight in found)


def token_weights(
    step: int,
    mask_BT: torch.Tensor,
    total_steps: int,
    horizon: int,
    student_logp_BT: torch.Tensor | None = None,
    teacher_logp_BT: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(distill_BT, reward_BT) in float32, 0 where `mask_BT` is 0.

    With both log-probs of the sampled tokens, weights that follow them are computed (T-DUR, or your own); without,
    they are replayed open loop.
    """
    turn_BT = turns_of(mask_BT)
    live = MEASURED and student_logp_BT is not None and teacher_logp_BT is not None
    by_turn: list[dict[str, Any]] = [
        schedule.weights(step, k, total_steps, horizon, turn_weight=1.0 if live else None)
        for k in range(int(turn_BT.max()) + 1)
    ]
    distill_K, reward_K = (
        torch.tensor([w[name] for w in by_turn], device=mask_BT.device) for name in ("distill", "reward")
    )
    distill_BT, reward_BT = distill_K[turn_BT], reward_K[turn_BT]
    if live:
        distill_BT = distill_BT * _measured(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT)
    return distill_BT * mask_BT, reward_BT * mask_BT


def _measured(student_logp_BT: Any, teacher_logp_BT: Any, turn_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    import turn_weights  # type: ignore[import-not-found,unused-ignore]  # in the bundle only where it is needed

    weigh = turn_weights.WEIGHTS[schedule.SPEC["turns"]["kind"]]
    return weigh(student_logp_BT.detach(), teacher_logp_BT.detach(), turn_BT, mask_BT)
