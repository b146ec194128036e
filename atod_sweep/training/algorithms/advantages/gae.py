"""Generalised advantage estimation on token batches, over turns or over tokens.

Turn level: one step of the estimator is a turn; its value is read at the last prompt token of the turn, and gamma and
lambda act once per turn. Token level: one step is a generated token, its value is read at the token before it, and a
turn's reward arrives with the turn's last token. Both bootstrap from the value of the state reached if the episode was
truncated, and from 0 if it terminated. Whitening is over the steps of all processes.

Shapes: _E episodes, _S steps of the estimator, _N generated tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, assert_never

import torch
from accelerate.utils import gather_object
from torch import Tensor

from atod_sweep.config.objective import GAE
from atod_sweep.objective import losses
from atod_sweep.objective.advantages import gae, whiten
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.play.outcomes import Episodes
from atod_sweep.training.scoring import values


def of_every_process(x: Tensor) -> Tensor:
    """The flat tensors `x` of all data-parallel processes in a row, the same everywhere; `x` itself if it is alone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    return torch.cat([theirs.to(x.device) for theirs in gather_object([x.cpu()])])


@dataclass(frozen=True)
class _Steps:
    """The estimator's steps: which one each token belongs to, the tokens whose value is read, rewards, loss weights."""

    step_N: Tensor
    size: int
    chosen_N: Tensor
    reward_ES: Tensor
    weight_N: Tensor


def _over_turns(batch: TokenBatch, reward_EK: Tensor, is_first_N: Tensor, penalty_N: Tensor) -> _Steps:
    """The turn's first token carries the weight of all its tokens, because only there is a value predicted."""
    place = (batch["episode"], batch["turn"])
    penalty_EK = torch.zeros_like(reward_EK).index_put_(place, penalty_N, accumulate=True)
    tokens_EK = torch.zeros_like(reward_EK).index_put_(place, torch.ones_like(penalty_N), accumulate=True)
    weight_N = torch.where(is_first_N, tokens_EK[place], 0.0)
    return _Steps(batch["turn"], reward_EK.shape[1], is_first_N, reward_EK - penalty_EK, weight_N)


def _over_tokens(batch: TokenBatch, reward_EK: Tensor, is_first_N: Tensor, penalty_N: Tensor) -> _Steps:
    step_N = batch.rank_N
    size = int(step_N.max()) + 1
    is_last_N = torch.ones_like(is_first_N)
    is_last_N[:-1] = is_first_N[1:]
    reward_ES = torch.zeros((len(reward_EK), size), device=reward_EK.device)
    reward_N = torch.where(is_last_N, reward_EK[batch["episode"], batch["turn"]], 0.0)
    reward_ES[batch["episode"], step_N] = reward_N - penalty_N
    return _Steps(step_N, size, torch.ones_like(is_first_N), reward_ES, torch.ones_like(penalty_N))


class GeneralisedAdvantage:
    """Values from a head on the student, advantages over turns or tokens, and the loss of the values."""

    value_head: ClassVar[bool] = True

    def __init__(self, config: GAE, group_size: int) -> None:
        self.config = config

    def with_advantage(
        self, policy: Policy, episodes: Episodes, batch: TokenBatch, penalty_N: Tensor, score_tokens: int
    ) -> TokenBatch:
        """Fields `advantage`, `old_value`, `return`, `value_weight`. `penalty_N` is taken off each token's reward.

        The weights of the value loss sum up to the number of tokens at either level, like those of any other term.
        """
        value_ST = values(policy, batch, score_tokens)
        value_N = value_ST[batch.sequence_N, batch.column_N - 1]
        last_value_E = torch.zeros(len(episodes.outcomes), device=value_ST.device)
        for episode, (sequence, column) in episodes.final.items():
            last_value_E[episode] = value_ST[sequence, column]
        episode_N, turns = batch["episode"], int(batch["turn"].max()) + 1
        turn_id_N = episode_N * turns + batch["turn"]
        is_first_N = torch.ones_like(turn_id_N, dtype=torch.bool)
        is_first_N[1:] = turn_id_N[1:] != turn_id_N[:-1]
        reward_EK = torch.zeros((len(episodes.outcomes), turns), device=value_ST.device)
        for row, outcome in zip(reward_EK, episodes.outcomes, strict=True):
            row[: outcome.turns] = torch.tensor(outcome.signal)
        match self.config.level:
            case "turn":
                steps = _over_turns(batch, reward_EK, is_first_N, penalty_N)
            case "token":
                steps = _over_tokens(batch, reward_EK, is_first_N, penalty_N)
            case _:
                assert_never(self.config.level)
        value_ES = torch.zeros((len(reward_EK), steps.size), device=value_ST.device)
        mask_ES = torch.zeros_like(value_ES, dtype=torch.bool)
        chosen = (episode_N[steps.chosen_N], steps.step_N[steps.chosen_N])
        value_ES[chosen] = value_N[steps.chosen_N]
        mask_ES[chosen] = True
        advantage_ES, return_ES = gae(
            steps.reward_ES, value_ES, last_value_E, mask_ES, self.config.gamma, self.config.lam
        )
        if self.config.whiten:
            advantage_ES = whiten(advantage_ES, mask_ES, of_every_process(advantage_ES[mask_ES]))
        return batch.having(
            advantage=advantage_ES[episode_N, steps.step_N],
            old_value=value_N,
            value_weight=steps.weight_N,
            **{"return": return_ES[episode_N, steps.step_N]},
        )

    def terms(self, output: Output, batch: TokenBatch) -> dict[str, Tensor]:
        assert output.value_N is not None
        error_N = losses.clipped_value(output.value_N, batch["old_value"], batch["return"], self.config.value_clip)
        return {"value": self.config.value_coef * (batch["value_weight"] * error_N).sum()}
