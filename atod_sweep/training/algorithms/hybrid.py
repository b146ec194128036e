"""A_t = kappa(s) w_k (log p_T - log p_theta) + rho(s) A_i in one clipped surrogate (arXiv 2606.27814)."""

from __future__ import annotations

import torch
from torch import Tensor

from atod_sweep.config.objective import Hybrid
from atod_sweep.config.train import Train
from atod_sweep.objective import losses
from atod_sweep.objective.signals.sampled_reverse_kl import sampled_reverse_kl
from atod_sweep.training.algorithms.mixed import Mixed, View, Weight
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.teachers.teacher import Teacher


class HybridMix(Mixed):
    """Teacher and reward have a weight each, and add up before the clip."""

    def __init__(self, config: Train, teacher: Teacher | None, reference: Policy | None) -> None:
        super().__init__(config, teacher, reference)
        assert isinstance(config.objective, Hybrid)
        self.rho = Weight(config.objective.reward_weight, config.steps)

    def reward_weight(self, step: int, distill: float) -> float:
        return self.rho.at(step)

    def reward_weight_N(self, distill: float, reward: float, g_N: Tensor) -> Tensor:
        return torch.full_like(g_N, reward)

    def policy_terms(self, view: View, batch: TokenBatch, split: bool) -> dict[str, Tensor]:
        """One term, `policy`; its two parts apart add up to it on the first on-policy update only."""

        def surrogate(advantage_N: Tensor) -> Tensor:
            return losses.clipped_surrogate(view.logp_N, view.old_logp_N, advantage_N, self.objective.clip_ratio).sum()

        push_N = batch["reward_weight"] * batch["advantage"]
        if "pull" in batch.fields:
            pull_N = batch["distill_weight"] * batch["pull"]
        elif "teacher_logp" in batch.fields:
            pull_N = batch["distill_weight"] * sampled_reverse_kl(batch["old_logp"], batch["teacher_logp"])
        else:
            return {"reward" if split else "policy": surrogate(push_N)}
        if split:
            return {"distill": surrogate(pull_N), "reward": surrogate(push_N)}
        return {"policy": surrogate(pull_N + push_N)}
