"""verl: scheduled weights for its distillation and policy losses, loaded by VERL_USE_EXTERNAL_MODULES=scheduled_verl.

Registers the distillation losses `scheduled_k1` and `scheduled_forward_kl_topk`: verl's own, token by token times the
teacher's weight. Wraps the policy loss that goes with them: advantages times the reward's weight (a positive factor
passes through the clipped surrogate), and the KL coefficient of the step. The trainer's `global_steps` counts from 1
and travels with every batch of the actor's update.
"""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import schedule  # type: ignore[import-not-found,unused-ignore]
import torch
from token_weights import token_weights  # type: ignore[import-not-found,unused-ignore]

STEPS, HORIZON = schedule.SPEC["steps"], schedule.SPEC["horizon"]
STEP_KEY = "schedule_step"

losses: Any = import_module("verl.trainer.distillation.losses")
tensordicts: Any = import_module("verl.utils.tensordict_utils")
trainers: Any = import_module("verl.trainer.ppo.v1.trainer_base")


def padded(tensor: torch.Tensor) -> torch.Tensor:
    """A batch of responses as a rectangle, 0 behind the end of each."""
    return tensor.to_padded_tensor(0) if tensor.is_nested else tensor


def weigh(data: Any, teacher_logp: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """(teacher's weight, reward's weight) of every response token of a micro-batch."""
    step = int(tensordicts.get_non_tensor_data(data, STEP_KEY, None))
    mask = padded(data["response_mask"]).float()
    return token_weights(step, mask, STEPS, HORIZON, padded(data["old_log_probs"]), teacher_logp)


def register(name: str, base: str) -> None:
    """A distillation loss that is verl's `base` times the teacher's weight."""
    theirs = losses.get_distillation_loss_fn(base)
    sampled = not losses.get_distillation_loss_settings(base).use_topk
    settings = losses.DistillationLossSettings(names=[name], use_topk=not sampled, use_estimator=sampled)

    @losses.register_distillation_loss(settings)
    def scheduled(config: Any, distillation_config: Any, model_output: Any, data: Any) -> Any:
        plain = copy.copy(distillation_config)
        loss_config = copy.copy(distillation_config.distillation_loss)
        object.__setattr__(loss_config, "loss_mode", base)
        object.__setattr__(plain, "distillation_loss", loss_config)
        terms, metrics = theirs(config=config, distillation_config=plain, model_output=model_output, data=data)
        teacher = losses.no_padding_2_padding(data["teacher_logprobs"], data).squeeze(-1) if sampled else None
        weight, _ = weigh(data, teacher)
        metrics["schedule/distill"] = (weight.sum() / padded(data["response_mask"]).sum()).item()
        return terms * weight, metrics


def schedule_policy_loss() -> None:
    """Wrap the policy loss that verl adds to its distillation loss."""
    theirs = losses.ppo_loss

    def scheduled(config: Any, model_output: Any, data: Any, dp_group: Any = None) -> Any:
        _, weight = weigh(data)
        step = int(tensordicts.get_non_tensor_data(data, STEP_KEY, None))
        config = copy.copy(config)
        object.__setattr__(config, "kl_loss_coef", schedule.weights(step, 0, STEPS, HORIZON)["beta_kl"])
        data = data.copy()
        data["advantages"] = padded(data["advantages"]) * weight
        loss, metrics = theirs(config, model_output, data, dp_group)
        metrics["schedule/reward"] = (weight.sum() / padded(data["response_mask"]).sum()).item()
        return loss, metrics

    losses.ppo_loss = scheduled


def send_the_step() -> None:
    """Put the step of the schedule into every batch of the actor's update."""
    theirs = trainers.PPOTrainer._update_actor

    def scheduled(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        batch.extra_info[STEP_KEY] = self.global_steps - 1
        return theirs(self, batch, *args, **kwargs)

    trainers.PPOTrainer._update_actor = scheduled


register("scheduled_k1", "k1")
register("scheduled_forward_kl_topk", "forward_kl_topk")
schedule_policy_loss()
send_the_step()
