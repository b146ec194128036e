"""Episodes as text, by a demonstrator or by another model, and their encoding for a student's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from atod_sweep.envs.batch import Batch
from atod_sweep.envs.contract import Split
from atod_sweep.envs.pool import Pool
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.conversation import Conversation


@dataclass(frozen=True)
class Turn:
    """One exchange; `learn` is False for actions that are context only (perturbations)."""

    observation: str
    action: str
    learn: bool = True


def demonstrate(
    batch: Batch | Pool, seeds: list[int], split: Split, perturb: float, rng: np.random.Generator
) -> list[list[Turn]]:
    """Demonstrator episodes. With probability `perturb` a turn plays a random one of the state's actions instead, which
    is context and not a label, so that the states after mistakes are demonstrated too.
    """
    observations = batch.reset(seeds, split)
    episodes: list[list[Turn]] = [[] for _ in seeds]
    alive = list(range(len(seeds)))
    while alive:
        actions: list[str | None] = [None] * len(seeds)
        swerve = rng.random(len(alive)) < perturb
        played = batch.demonstrator_actions(alive)
        if perturb > 0:
            choices = batch.actions(alive)
            picks = rng.integers([len(legal) for legal in choices])
            played = [
                legal[pick] if astray else shown
                for shown, astray, legal, pick in zip(played, swerve, choices, picks, strict=True)
            ]
        for episode, action, astray in zip(alive, played, swerve, strict=True):
            actions[episode] = action
            episodes[episode].append(Turn(observations[episode], action, learn=not astray))
        going = []
        for episode, step in enumerate(batch.step(actions)):
            if step is not None:
                observations[episode] = step.observation
                if not (step.terminated or step.truncated):
                    going.append(episode)
        alive = going
    return episodes


def encode(episodes: list[list[Turn]], conversation: Conversation, device: torch.device) -> TokenBatch:
    """Token batch of text episodes, the end of every action included; fields `turn` and `episode`."""
    rows: list[list[int]] = []
    tokens: list[tuple[int, int, int]] = []  # (sequence, column, turn)
    for e, episode in enumerate(episodes):
        ids: list[int] = []
        for k, turn in enumerate(episode):
            ids += conversation.encode_turn(turn.observation, first=k == 0)
            action = conversation.encode_action(turn.action)
            if turn.learn:
                tokens += [(e, len(ids) + i, k) for i in range(len(action))]
            ids += action
        rows.append(ids)
    pad = conversation.tokenizer.pad_token_id or 0
    ids_ST = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    for row, ids in zip(ids_ST, rows, strict=True):
        row[: len(ids)] = ids
    index = torch.tensor(tokens, dtype=torch.long, device=device).view(-1, 3)
    return TokenBatch(
        torch.as_tensor(ids_ST, device=device),
        torch.tensor([len(ids) for ids in rows], device=device),
        index[:, 0],
        index[:, 1],
        {"turn": index[:, 2], "episode": index[:, 0]},
    )
