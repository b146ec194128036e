"""Baselines on whole episodes: SFT on the teacher's, DPO on the student's own better and worse, SPIN between the two.

The preference losses are linear combinations of episode log-probs once their weights are known, so they reach the
shared update as one weight per token: -beta sigmoid(-beta margin) on the chosen episode's tokens and its opposite on
the rejected one's. That is the exact gradient for one optimiser step per batch, which the config demands of them.
Shapes: _N generated tokens, _E episodes, _P pairs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atod_sweep.config.objective import DPO as DPOConfig
from atod_sweep.config.objective import SPIN as SPINConfig
from atod_sweep.config.train import Train
from atod_sweep.objective import divergences, losses
from atod_sweep.training.algorithms.scoring import score
from atod_sweep.training.algorithms.stage import Collected, Metrics, Stage
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.play.outcomes import Outcome


def token_logp(output: Output, batch: TokenBatch) -> Tensor:
    """Log-probs of the batch's tokens at temperature 1, shape N."""
    return divergences.tempered(output.logits_NV, 1.0).gather(1, batch.target_N[:, None])[:, 0]


def best_and_worst(outcomes: list[Outcome], group_size: int) -> list[tuple[int, int]]:
    """(chosen, rejected) episode of every task whose rollouts differ in reward: its first best and its first worst."""
    pairs = []
    for start in range(0, len(outcomes), group_size):
        group = range(start, min(start + group_size, len(outcomes)))
        chosen = max(group, key=lambda e: (outcomes[e].total, -e))
        rejected = min(group, key=lambda e: (outcomes[e].total, e))
        if outcomes[chosen].total > outcomes[rejected].total:
            pairs.append((chosen, rejected))
    return pairs


def with_preferences(
    batch: TokenBatch, pairs: list[tuple[int, int]], policy: Policy, reference: Policy, beta: float, score_tokens: int
) -> tuple[TokenBatch, Metrics]:
    """Field `preference` (N), normalised so that the shared division by tokens leaves a mean over pairs; metrics."""
    batch = score(policy, batch, "policy", 1.0, None, score_tokens)
    batch = score(reference, batch, "reference", 1.0, None, score_tokens)
    episodes = int(batch["episode"].max()) + 1
    weight_E = torch.zeros(episodes, device=batch.ids_ST.device)
    metrics: Metrics = {"pairs": len(pairs)}
    if pairs:

        def per_episode(x_N: Tensor) -> Tensor:
            return x_N.new_zeros(episodes).index_add_(0, batch["episode"], x_N)

        chosen_P, rejected_P = torch.tensor(pairs, device=batch.ids_ST.device).T
        policy_E, reference_E = per_episode(batch["policy_logp"]), per_episode(batch["reference_logp"])
        logratio_E = policy_E - reference_E
        margin_P = beta * (logratio_E[chosen_P] - logratio_E[rejected_P])
        slope_P = beta * torch.sigmoid(-margin_P) * (batch.tokens / len(pairs))
        weight_E.index_add_(0, chosen_P, -slope_P).index_add_(0, rejected_P, slope_P)
        loss_P = losses.dpo(
            policy_E[chosen_P], policy_E[rejected_P], reference_E[chosen_P], reference_E[rejected_P], beta
        )
        metrics |= {"preference/loss": float(loss_P.mean()), "preference/margin": float(margin_P.mean())}
    return batch.having(preference=weight_E[batch["episode"]]), metrics


class SFT:
    """Cross-entropy on episodes that the teacher plays; its vocabulary may differ from the student's."""

    def collect(self, stage: Stage, step: int) -> Collected:
        batch, outcomes = stage.teacher_episodes(stage.draw_tasks(), step)
        return Collected(batch, outcomes, {})

    def terms(self, output: Output, batch: TokenBatch, split: bool = False) -> dict[str, Tensor]:
        return {"sft": -token_logp(output, batch).sum()}

    def measured(self, metrics: Metrics) -> None:
        """Nothing here follows a measurement."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class DPO:
    """The student's own best against its own worst rollout of each task; reference: the initial student."""

    def __init__(self, config: Train, objective: DPOConfig | SPINConfig, reference: Policy) -> None:
        self.config, self.objective, self.reference = config, objective, reference

    def collect(self, stage: Stage, step: int) -> Collected:
        episodes = stage.play(stage.policy, step)
        pairs = best_and_worst(episodes.outcomes, self.config.rollout.group_size)
        batch, metrics = self.with_preferences(stage, TokenBatch.of(episodes), pairs)
        return Collected(batch, episodes.outcomes, metrics)

    def with_preferences(
        self, stage: Stage, batch: TokenBatch, pairs: list[tuple[int, int]]
    ) -> tuple[TokenBatch, Metrics]:
        return with_preferences(batch, pairs, stage.policy, self.reference, self.objective.beta, stage.score_tokens)

    def terms(self, output: Output, batch: TokenBatch, split: bool = False) -> dict[str, Tensor]:
        return {"preference": (batch["preference"] * token_logp(output, batch)).sum()}

    def measured(self, metrics: Metrics) -> None:
        """Nothing here follows a measurement."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class SPIN(DPO):
    """Teacher episodes against the opponent's on the same tasks; the opponent, which is also the reference, becomes
    the current student every `refresh_steps` (an iteration of self-play, arXiv 2401.01335).

    Half of the step's episodes are played by each, so that a step costs as many as any other objective's.
    """

    def __init__(self, config: Train, objective: SPINConfig, reference: Policy) -> None:
        super().__init__(config, objective, reference)
        reference.folded = None  # its weights will be renewed

    def collect(self, stage: Stage, step: int) -> Collected:
        assert isinstance(self.objective, SPINConfig)
        if step and step % self.objective.refresh_steps == 0:
            with torch.no_grad():
                for mine, theirs in zip(self.reference.parameters(), stage.policy.parameters(), strict=True):
                    mine.copy_(theirs)
        tasks = stage.draw_tasks()[::2]
        chosen, outcomes = stage.teacher_episodes(tasks, step)
        rejected = TokenBatch.of(stage.play(self.reference, step, tasks=tasks))
        pairs = [(i, i + len(tasks)) for i in range(len(tasks))]
        batch, metrics = self.with_preferences(stage, chosen.joined(rejected), pairs)
        return Collected(batch, outcomes, metrics)

    def state_dict(self) -> dict[str, Any]:
        return {"opponent": {name: p.detach() for name, p in self.reference.named_parameters()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, parameter in self.reference.named_parameters():
                parameter.copy_(state["opponent"][name])
