"""L = lambda L_distill + (1 - lambda) L_RL + beta_kl KL + c_v L_value - c_e H, with lambda = lambda_time(p) g(k).

T-DUR weights multiply L_distill only; the reward keeps 1 - lambda_time g_thresholds. Shapes: _N generated tokens.
"""

from __future__ import annotations

from torch import Tensor

from atod_sweep.config.objective import GAE, JSD, ForwardKL, Interpolated, SampledReverseKL
from atod_sweep.config.train import Train
from atod_sweep.objective import divergences, losses
from atod_sweep.training.algorithms.mixed import Mixed, View
from atod_sweep.training.algorithms.scoring import needs_distribution
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy


class InterpolatedMix(Mixed):
    """Teacher and reward share one weight."""

    objective: Interpolated

    def __init__(
        self, config: Train, objective: Interpolated, teacher: Policy | None, reference: Policy | None
    ) -> None:
        self.objective = objective
        super().__init__(config, teacher, reference)
        self.gae = objective.advantage if isinstance(objective.advantage, GAE) else None
        self.full = needs_distribution(objective.distill)

    def reward_weight(self, step: int, distill: float) -> float:
        return 1.0 - distill

    def reward_weight_N(self, g_N: Tensor) -> Tensor:
        return 1.0 - self.in_force.distill * g_N

    def policy_terms(self, view: View, batch: TokenBatch, split: bool) -> dict[str, Tensor]:
        surrogate_N = losses.clipped_surrogate(
            view.logp_N, view.old_logp_N, batch["advantage"], self.objective.clip_ratio
        )
        terms = {"reward": (batch["reward_weight"] * surrogate_N).sum()}
        if "teacher_logp" in batch.fields:
            terms["distill"] = (batch["distill_weight"] * self._distill(view, batch)).sum()
        return terms

    def _distill(self, view: View, batch: TokenBatch) -> Tensor:
        signal = self.objective.distill
        if isinstance(signal, SampledReverseKL):
            gap_N = batch["teacher_logp"] - batch["old_logp"]
            return losses.clipped_surrogate(view.logp_N, view.old_logp_N, gap_N, self.objective.clip_ratio)
        student = view.logp_NV
        if signal.temperature != self.in_force.temperature:
            student = divergences.tempered(view.logits_NV, signal.temperature)
        if signal.top_k is not None:
            student = divergences.top_k_with_tail(student, batch["teacher_index"])
        student, teacher = divergences.with_rest(student, batch["teacher_full"])
        if isinstance(signal, ForwardKL):
            return divergences.forward_kl(student, teacher)
        if isinstance(signal, JSD):
            return divergences.jsd(student, teacher, signal.beta)
        return divergences.reverse_kl(student, teacher)
