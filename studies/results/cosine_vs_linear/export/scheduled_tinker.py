"""tinker-cookbook: on-policy distillation with scheduled weights for teacher and reward.

    import scheduled_tinker  # before training starts
    asyncio.run(tinker_cookbook.distillation.train_on_policy.main(config))

Keep `kl_penalty_coef` at 1.0: the schedule multiplies what it gives. The step is the loop's `i_batch`, from 0, which a
resumed run restores.
"""

from __future__ import annotations

from contextvars import ContextVar
from importlib import import_module
from typing import Any

import schedule  # type: ignore[import-not-found,unused-ignore]
import torch
from token_weights import is_taught, token_weights  # type: ignore[import-not-found,unused-ignore]

STEPS, HORIZON = schedule.SPEC["steps"], schedule.SPEC["horizon"]
SPREAD_OFFSET = 1e-4

train: Any = import_module("tinker_cookbook.distillation.train_on_policy")
tinker: Any = import_module("tinker")
current_step: ContextVar[int] = ContextVar("current_step")

_train_step, _advantages, _teacher_term = (
    train.do_train_step_and_get_sampling_client,
    train.compute_advantages,
    train.incorporate_kl_penalty,
)


async def train_step(config: Any, i_batch: int, *args: Any, **kwargs: Any) -> Any:
    """Their step, with its number within reach of the two functions below."""
    current_step.set(i_batch)
    return await _train_step(config, i_batch, *args, **kwargs)


def advantages(trajectory_groups_P: Any) -> list[torch.Tensor]:
    """Their centred rewards, divided by the spread of the group."""
    found = _advantages(trajectory_groups_P)
    return [a / (a.std() + SPREAD_OFFSET) if len(a) > 1 and a.std() >= 1e-8 else torch.zeros_like(a) for a in found]


async def teacher_term(data_D: list[Any], *args: Any, **kwargs: Any) -> dict[str, float]:
    """reward * A + distill * (log p_teacher - log p_student), token by token; the teacher is not called at weight 0."""
    step = current_step.get()
    rewards = [datum.loss_fn_inputs["advantages"].to_torch() for datum in data_D]
    masks = [datum.loss_fn_inputs["mask"].to_torch().float() for datum in data_D]
    taught = is_taught(step, STEPS, HORIZON)
    metrics: dict[str, float] = {}
    if taught:
        for datum, reward in zip(data_D, rewards, strict=True):
            datum.loss_fn_inputs["advantages"] = tinker.TensorData.from_torch(torch.zeros_like(reward))
        metrics = await _teacher_term(data_D, *args, **kwargs)
    for datum, reward, mask in zip(data_D, rewards, masks, strict=True):
        pull = datum.loss_fn_inputs["advantages"].to_torch() if taught else torch.zeros_like(reward)
        student = datum.loss_fn_inputs["logprobs"].to_torch()
        teacher = (student + pull)[None] if taught else None
        distill, weight = token_weights(step, mask[None], STEPS, HORIZON, student[None], teacher)
        datum.loss_fn_inputs["advantages"] = tinker.TensorData.from_torch(weight[0] * reward + distill[0] * pull)
    return {**metrics, **{f"schedule/{k}": v for k, v in schedule.weights(step, 0, STEPS, HORIZON).items()}}


train.do_train_step_and_get_sampling_client = train_step
train.compute_advantages = advantages
train.incorporate_kl_penalty = teacher_term
