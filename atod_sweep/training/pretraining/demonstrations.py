"""Episodes as text, by a demonstrator or by another model, and their encoding for a student's tokenizer."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from atod_sweep.envs.batch import Batch
from atod_sweep.envs.contract import Split
from atod_sweep.envs.pool import Pool
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.play.context import Context, TooLong
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.play.talk import Conversation, Growing


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

    An episode that needs more than `context` tokens goes on in further sequences, as played ones do; every action is
    learned once. Fields `turn` and `episode`. Raises UserError for a turn that does not fit at all.
    """
    rows: list[list[int]] = []
    tokens: list[tuple[int, int, int, int]] = []  # (sequence, column, turn, episode)
    dropped = 0
    if isinstance(conversation, Growing):  # all at once is cheaper than each as it comes
        conversation.encode_turns((turn.observation, k == 0) for episode in episodes for k, turn in enumerate(episode))
    for e, episode in enumerate(episodes):
        view = Context(conversation, context or sys.maxsize)
        for k, turn in enumerate(episode):
            action = conversation.encode_action(turn.action)
            try:
                anew = view.ask(turn.observation, len(action))
            except TooLong as error:
                raise UserError(
                    f"a demonstrated turn needs {error.tokens + len(action)} tokens of the student's vocabulary, which "
                    f"exceeds its context of {context}; raise rollout.max_context_tokens, or take a student with more "
                    "positions"
                ) from None
            if anew or k == 0:
                rows.append(view.ids)
            if turn.learn:
                tokens += [(len(rows) - 1, len(view.ids) + i, k, e) for i in range(len(action))]
            view.answer(action)
        dropped += view.dropped
    return TokenBatch.rows(rows, tokens, conversation.tokenizer.pad_token_id or 0, device), dropped


def of_played(outcomes: Iterable[Outcome], player: Player, device: torch.device) -> tuple[TokenBatch, int]:
    """`encode` of what was played, in the conversation and the context of another player."""
    texts = [[DemonstratedTurn(*said) for said in outcome.transcript] for outcome in outcomes]
    return encode(texts, player.conversation, device, player.limits.context)
