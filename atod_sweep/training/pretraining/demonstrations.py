"""Episodes as text, by a demonstrator or by another model, and their encoding for a student's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from atod_sweep.envs.batch import Batch
from atod_sweep.envs.contract import Split
from atod_sweep.envs.pool import Pool
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.play.conversation import Conversation


@dataclass(frozen=True)
class DemonstratedTurn:
    """One exchange; `learn` is False for actions that are context only (perturbations)."""

    observation: str
    action: str
    learn: bool = True


def demonstrate(
    batch: Batch | Pool, seeds: list[int], split: Split, perturb: float, rng: np.random.Generator
) -> list[list[DemonstratedTurn]]:
    """Demonstrator episodes. With probability `perturb` a turn plays a random one of the state's actions instead, which
    is context and not a label, so that the states after mistakes are demonstrated too.
    """
    observations = batch.reset(seeds, split)
    episodes: list[list[DemonstratedTurn]] = [[] for _ in seeds]
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
            episodes[episode].append(DemonstratedTurn(observations[episode], action, learn=not astray))
        going = []
        for episode, step in enumerate(batch.step(actions)):
            if step is not None:
                observations[episode] = step.observation
                if not (step.terminated or step.truncated):
                    going.append(episode)
        alive = going
    return episodes


def encode(
    episodes: list[list[DemonstratedTurn]], conversation: Conversation, device: torch.device, context: int | None = None
) -> tuple[TokenBatch, int]:
    """Token batch of text episodes, the end of every action included, and how many turns were dropped from it.

    An episode that needs more than `context` tokens goes on in further sequences, each without the oldest turns; every
    action is learned once. Fields `turn` and `episode`. Raises UserError for a turn that does not fit at all.
    """
    rows: list[list[int]] = []
    tokens: list[tuple[int, int, int, int]] = []  # (sequence, column, turn, episode)
    dropped = 0
    for e, episode in enumerate(episodes):
        windows = _windows(episode, conversation, context)
        dropped += windows[-1].start
        for window in windows:
            ids: list[int] = []
            for k in range(window.start, window.stop):
                turn = episode[k]
                ids += conversation.encode_turn(turn.observation, first=k == window.start)
                action = conversation.encode_action(turn.action)
                if turn.learn and k >= window.learn:
                    tokens += [(len(rows), len(ids) + i, k, e) for i in range(len(action))]
                ids += action
            rows.append(ids)
    pad = conversation.tokenizer.pad_token_id or 0
    ids_ST = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    for row, ids in zip(ids_ST, rows, strict=True):
        row[: len(ids)] = ids
    index = torch.tensor(tokens, dtype=torch.long, device=device).view(-1, 4)
    batch = TokenBatch(
        torch.as_tensor(ids_ST, device=device),
        torch.tensor([len(ids) for ids in rows], device=device),
        index[:, 0],
        index[:, 1],
        {"turn": index[:, 2], "episode": index[:, 3]},
    )
    return batch, dropped


@dataclass(frozen=True)
class _Window:
    """Turns `start` to `stop` in one sequence, of which those from `learn` on are not in an earlier one."""

    start: int
    learn: int
    stop: int


def _windows(episode: list[DemonstratedTurn], conversation: Conversation, context: int | None) -> list[_Window]:
    """The sequences of an episode: one if it fits, else each with as many turns as fit before the one that did not."""
    if context is None:
        return [_Window(0, 0, len(episode))]
    found: list[_Window] = []
    start = learn = used = 0
    for k, turn in enumerate(episode):
        action = len(conversation.encode_action(turn.action))
        alone = len(conversation.encode_turn(turn.observation, first=True)) + action
        if alone > context:
            raise UserError(
                f"a demonstrated turn needs {alone} tokens of the student's vocabulary, which exceeds its context of "
                f"{context}; raise rollout.max_context_tokens, or take a student with more positions"
            )
        used = alone if k == 0 else used + len(conversation.encode_turn(turn.observation, first=False)) + action
        if used > context:
            found.append(_Window(start, learn, k))
            learn = k
            while used > context:
                start += 1
                used = _length(episode[start : k + 1], conversation)
    return [*found, _Window(start, learn, len(episode))]


def _length(turns: list[DemonstratedTurn], conversation: Conversation) -> int:
    return sum(
        len(conversation.encode_turn(turn.observation, first=k == 0)) + len(conversation.encode_action(turn.action))
        for k, turn in enumerate(turns)
    )
