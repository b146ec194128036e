"""L = lambda L_distill + (1 - lambda) L_RL + beta_kl KL + c_v L_value - c_e H, with lambda = lambda_time(p) g(k).

T-DUR weights multiply L_distill only; the reward keeps 1 - lambda_time g_thresholds. Shapes: _N generated tokens.
"""

from __future__ import annotations

from typing import assert_never

from torch import Tensor

from atod_sweep.objective import losses
from atod_sweep.objective.signals import SIGNALS, Divergence, Imitation, Push, numbers
from atod_sweep.training.algorithms.mixed import Mixed, View
from atod_sweep.training.batch import TokenBatch


class InterpolatedMix(Mixed):
    """Teacher and reward share one weight."""

    def reward_weight(self, step: int, distill: float) -> float:
        return 1.0 - distill

    def reward_weight_N(self, distill: float, reward: float, g_N: Tensor) -> Tensor:
        return 1.0 - distill * g_N

    def policy_terms(self, view: View, batch: TokenBatch, split: bool) -> dict[str, Tensor]:
        surrogate_N = losses.clipped_surrogate(
            view.logp_N, view.old_logp_N, batch["advantage"], self.objective.clip_ratio
        )
        terms = {"reward": (batch["reward_weight"] * surrogate_N).sum()}
        if "pull" in batch.fields:
            pull_N = losses.clipped_surrogate(view.logp_N, view.old_logp_N, batch["pull"], self.objective.clip_ratio)
            terms["distill"] = (batch["distill_weight"] * pull_N).sum()
        elif "teacher_logp" in batch.fields:
            terms["distill"] = (batch["distill_weight"] * self._distill(view, batch)).sum()
        return terms

    def _distill(self, view: View, batch: TokenBatch) -> Tensor:
        config = self.objective.distill
        signal = SIGNALS[config.kind]
        match signal:
            case Push():
                pull_N = signal.advantage(batch["old_logp"], batch["teacher_logp"], **numbers(config))
                return losses.clipped_surrogate(view.logp_N, view.old_logp_N, pull_N, self.objective.clip_ratio)
            case Divergence():
                student_NV, teacher_NV = self.distributions(view.logits_NV, view.logp_NV, batch)
                return signal.loss(student_NV, teacher_NV, **numbers(config))
            case Imitation():
                raise AssertionError("it has a term of its own, `relabelled`")
            case _:
                assert_never(signal)
