"""Any PyTorch loop, Hugging Face Trainer or accelerate: the loss of one batch of episodes under the schedule.

    from scheduled_loss import scheduled_loss

    loss = scheduled_loss(step, total_steps, horizon, mask_BT, distill_BT, reward_BT, kl_BT)

`step` counts batches of rollouts from 0; take it from your trainer's state (`self.state.global_step` in a Hugging Face
Trainer), so that a resumed run goes on where it stopped.
"""

from __future__ import annotations

import schedule  # type: ignore[import-not-found,unused-ignore]
import torch
from token_weights import token_weights  # type: ignore[import-not-found,unused-ignore]


def scheduled_loss(
    step: int,
    total_steps: int,
    horizon: int,
    mask_BT: torch.Tensor,
    distill_BT: torch.Tensor,
    reward_BT: torch.Tensor,
    kl_BT: torch.Tensor | None = None,
    student_logp_BT: torch.Tensor | None = None,
    teacher_logp_BT: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum over generated tokens (mask 1) of the weighted loss terms, divided by their number.

    `distill_BT`: divergence from the teacher or its policy-gradient loss; `reward_BT`: clipped surrogate of the
    reward's advantage; `kl_BT`: penalty against the initial student. Log-probs are needed for turn weights that follow
    them only.
    """
    teacher_BT, rl_BT = token_weights(step, mask_BT, total_steps, horizon, student_logp_BT, teacher_logp_BT)
    total_BT = teacher_BT * distill_BT + rl_BT * reward_BT
    if kl_BT is not None:
        total_BT = total_BT + schedule.weights(step, 0, total_steps, horizon)["beta_kl"] * kl_BT
    return (total_BT * mask_BT).sum() / mask_BT.sum()
