"""Losses on pairs of whole episodes, one preferred to the other, as weights of tokens.

The preference loss is a linear combination of episode log-probs once its weights are known, so it reaches the shared
update as one weight per token: -beta sigmoid(-beta margin) on the chosen episode's tokens and its opposite on the
rejected one's. That is the exact gradient for one optimiser step per batch, which the config demands.

Shapes: _N generated tokens, _E episodes, _P pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atod_sweep.objective import losses
from atod_sweep.training.algorithms.stage import Algorithm, Metrics
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.scoring import score


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


class Preferring(Algorithm):
    """What DPO and SPIN share: the reference, and the loss of a batch with the field `preference`."""

    def __init__(self, beta: float, reference: Policy | None) -> None:
        assert reference is not None
        self.beta, self.reference = beta, reference

    def terms(self, output: Output, batch: TokenBatch, split: bool = False) -> dict[str, Tensor]:
        return {"preference": (batch["preference"] * batch.logp(output.logits_NV, 1.0)).sum()}
