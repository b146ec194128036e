"""Generalised advantage estimation on token batches, over turns or over tokens.

Turn level: one step of the estimator is a turn; its value is read at the last prompt token of the turn, and gamma and
lambda act once per turn. Token level: one step is a generated token, its value is read at the token before it, and a
turn's reward arrives with the turn's last token. Both bootstrap from the value of the state reached if the episode was
truncated, and from 0 if it terminated. Whitening is over the steps of all processes.

Shapes: _E episodes, _S steps of the estimator, _N generated tokens.
"""

from __future__ import annotations

import torch
from accelerate.utils import gather_object
from torch import Tensor

from atod_sweep.config.objective import GAE
from atod_sweep.objective.advantages import gae, whiten
from atod_sweep.training.algorithms.scoring import values
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.outcomes import Episodes


def rank_in_episode(batch: TokenBatch) -> Tensor:
    """0, 1, 2 ... along the generated tokens of each episode (tokens are sorted by episode)."""
    episode_N = batch["episode"]
    count_E = torch.bincount(episode_N)
    start_E = count_E.cumsum(0) - count_E
    return torch.arange(batch.tokens, device=episode_N.device) - start_E[episode_N]


def of_every_process(x: Tensor) -> Tensor:
    """The flat tensors `x` of all data-parallel processes in a row, the same everywhere; `x` itself if it is alone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    return torch.cat([theirs.to(x.device) for theirs in gather_object([x.cpu()])])


def with_advantages(
    policy: Policy, episodes: Episodes, batch: TokenBatch, penalty_N: Tensor, config: GAE, score_tokens: int
) -> TokenBatch:
    """Fields `advantage`, `old_value`, `return`, `value_weight`. `penalty_N` is taken off each token's reward.

    `value_weight` is 1 per token at token level; at turn level the turn's first token carries the weight of all its
    tokens, because only there is a value predicted. So the value loss is a sum over generated tokens in both.
    """
    value_ST = values(policy, batch, score_tokens)
    value_N = value_ST[batch.sequence_N, batch.column_N - 1]
    last_value_E = torch.zeros(len(episodes.outcomes), device=value_ST.device)
    for episode, (sequence, column) in episodes.final.items():
        last_value_E[episode] = value_ST[sequence, column]
    episode_N, turn_N = batch["episode"], batch["turn"]
    turns = int(turn_N.max()) + 1
    turn_id_N = episode_N * turns + turn_N
    is_first_N = torch.ones_like(turn_id_N, dtype=torch.bool)
    is_first_N[1:] = turn_id_N[1:] != turn_id_N[:-1]
    reward_EK = torch.zeros((len(episodes.outcomes), turns), device=value_ST.device)
    for row, outcome in zip(reward_EK, episodes.outcomes, strict=True):
        row[: outcome.turns] = torch.tensor(outcome.rewards)

    if config.level == "turn":
        step_N, size = turn_N, turns
        chosen_N = is_first_N
        reward_ES = reward_EK - torch.zeros_like(reward_EK).index_put_((episode_N, turn_N), penalty_N, accumulate=True)
        tokens_EK = torch.zeros_like(reward_EK).index_put_(
            (episode_N, turn_N), torch.ones_like(penalty_N), accumulate=True
        )
        weight_N = torch.where(is_first_N, tokens_EK[episode_N, turn_N], 0.0)
    else:
        step_N = rank_in_episode(batch)
        size = int(step_N.max()) + 1
        chosen_N = torch.ones_like(is_first_N)
        is_last_N = torch.ones_like(is_first_N)
        is_last_N[:-1] = is_first_N[1:]
        reward_ES = torch.zeros((len(reward_EK), size), device=value_ST.device)
        reward_ES[episode_N, step_N] = torch.where(is_last_N, reward_EK[episode_N, turn_N], 0.0) - penalty_N
        weight_N = torch.ones_like(penalty_N)

    value_ES = torch.zeros((len(reward_EK), size), device=value_ST.device)
    mask_ES = torch.zeros_like(value_ES, dtype=torch.bool)
    value_ES[episode_N[chosen_N], step_N[chosen_N]] = value_N[chosen_N]
    mask_ES[episode_N[chosen_N], step_N[chosen_N]] = True
    advantage_ES, return_ES = gae(reward_ES, value_ES, last_value_E, mask_ES, config.gamma, config.lam)
    if config.whiten:
        advantage_ES = whiten(advantage_ES, mask_ES, of_every_process(advantage_ES[mask_ES]))
    return batch.having(
        advantage=advantage_ES[episode_N, step_N],
        old_value=value_N,
        value_weight=weight_N,
        **{"return": return_ES[episode_N, step_N]},
    )
