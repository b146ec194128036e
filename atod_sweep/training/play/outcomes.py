"""What remains of played conversations: token sequences with a loss mask, outcomes, and the book-keeping for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atod_sweep.envs.checked import Answer
from atod_sweep.envs.failures import EnvironmentFailed, EnvironmentTimeout
from atod_sweep.envs.pool import LOST
from atod_sweep.errors import UserError
from atod_sweep.training.play.conversation import Conversation


@dataclass
class Outcome:
    """What one episode came to."""

    seed: int
    rewards: list[float] = field(default_factory=list)
    success: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    truncated: bool = False
    dropped_turns: int = 0
    transcript: list[tuple[str, str]] = field(default_factory=list)  # (observation, action) per turn

    @property
    def turns(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        """Undiscounted sum of rewards."""
        return float(sum(self.rewards))


@dataclass
class TokenSequence:
    """One token sequence of an episode; an episode has several only if its context overflowed."""

    episode: int
    ids: list[int] = field(default_factory=list)
    spans: list[tuple[int, int, int]] = field(default_factory=list)  # (first column, tokens, turn) of each action
    logp: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Episodes:
    """S right-padded token sequences without gaps, their N generated tokens, and the outcomes of the episodes.

    `column_N` is where a generated token stands; the logits that predict it are one column earlier. `logp_N` is its
    log-probability under the policy and temperature that sampled it. `final` holds, for every truncated episode played
    with `bootstrap`, the (sequence, column) after which the next action would have begun.
    """

    ids_ST: Tensor
    length_S: Tensor
    episode_S: Tensor
    sequence_N: Tensor
    column_N: Tensor
    turn_N: Tensor
    logp_N: Tensor
    outcomes: list[Outcome]
    final: dict[int, tuple[int, int]]

    @property
    def env_steps(self) -> int:
        return sum(o.turns for o in self.outcomes)

    @property
    def tokens(self) -> int:
        return int(self.length_S.sum())


@dataclass(frozen=True)
class Limits:
    """Bounds on one episode. `context` counts tokens, prompt and action included."""

    action_tokens: int
    context: int


@dataclass(frozen=True)
class Chunk:
    """Ids to feed for one row before its next action; `restart` forgets the row's cached prefix."""

    ids: list[int]
    restart: bool


class EpisodeBook:
    """The book-keeping of `Player.play`: one current sequence per episode, finished sequences, outcomes."""

    def __init__(self, conversation: Conversation, limits: Limits, seeds: list[int]) -> None:
        self.conversation, self.limits = conversation, limits
        self.pad = conversation.tokenizer.pad_token_id or 0
        # what may follow an observation: the longest action, and the end that is appended to it when it is cut off
        self.answer = limits.action_tokens + len(conversation.end_ids)
        self.outcomes = [Outcome(seed) for seed in seeds]
        self.current = [TokenSequence(i) for i in range(len(seeds))]
        self.finished: list[TokenSequence] = []
        self.final: dict[int, tuple[TokenSequence, int]] = {}
        # (observation, action ids) of the turns in the current context, to rebuild it after an overflow
        self.context: list[list[tuple[str, list[int]]]] = [[] for _ in seeds]
        self.fed = [0] * len(seeds)  # ids of the current sequence that are in the decoder's cache

    def append_turn(self, episode: int, observation: str) -> Chunk:
        """Add an observation's ids to the episode's sequence, dropping its oldest turns if they no longer fit."""
        sequence, context = self.current[episode], self.context[episode]
        ids = self.conversation.encode_turn(observation, first=not sequence.ids)
        restart = len(sequence.ids) + len(ids) + self.answer > self.limits.context
        if restart:
            if sequence.spans:
                self.finished.append(sequence)
            sequence = self.current[episode] = TokenSequence(episode)
            sequence.ids, kept = self._shortened(context, observation)
            self.outcomes[episode].dropped_turns += len(context) - kept
            self.context[episode] = context[len(context) - kept :]
            self.fed[episode] = 0
        else:
            sequence.ids.extend(ids)
        chunk = sequence.ids[self.fed[episode] :]
        self.fed[episode] = len(sequence.ids)
        self.context[episode].append((observation, []))
        return Chunk(chunk, restart)

    def _shortened(self, context: list[tuple[str, list[int]]], observation: str) -> tuple[list[int], int]:
        """Ids of the longest suffix of turns that fits before `observation`, and how many turns it keeps."""
        for kept in range(max(0, len(context) - 1), -1, -1):
            ids: list[int] = []
            for past, action in context[len(context) - kept :]:
                ids += self.conversation.encode_turn(past, first=not ids)
                ids += action
            ids += self.conversation.encode_turn(observation, first=not ids)
            if len(ids) + self.answer <= self.limits.context:
                return ids, kept
        raise UserError(
            f"an observation needs {len(ids)} tokens, which with rollout.max_action_tokens = "
            f"{self.limits.action_tokens} and the action's end exceeds the context of {self.limits.context}; "
            "raise rollout.max_context_tokens, or take a model with more positions"
        )

    def append_action(self, episode: int, ids: list[int], logp: list[float]) -> None:
        """Add a generated action; an action that was cut off gets its end, which carries no loss."""
        sequence = self.current[episode]
        sequence.spans.append((len(sequence.ids), len(ids), self.outcomes[episode].turns))
        sequence.ids.extend(ids)
        sequence.logp.extend(logp)
        self.fed[episode] += len(ids) - 1
        if ids[-1] not in self.conversation.stop_ids:
            sequence.ids.extend(self.conversation.end_ids)
        start = sequence.spans[-1][0]
        self.context[episode][-1] = (self.context[episode][-1][0], sequence.ids[start:])

    def record(self, episode: int, step: Answer) -> bool:
        """File an environment's answer; True if the episode is over."""
        outcome = self.outcomes[episode]
        if step.info.get(LOST) == "timeout":
            raise EnvironmentTimeout(f"a step of task seed {outcome.seed} took longer than rollout.step_timeout")
        if LOST in step.info:
            raise EnvironmentFailed(f"task seed {outcome.seed} was lost to a {step.info[LOST]} of its environment")
        outcome.rewards.append(step.reward)
        if not (step.terminated or step.truncated):
            return False
        outcome.success, outcome.metrics = step.info["success"], step.info["metrics"]
        outcome.truncated = step.truncated and not step.terminated
        return True

    def mark_final(self, episode: int, observation: str) -> None:
        """Append the state that a truncated episode stopped in, without loss, to read its value off."""
        if episode not in self.final:
            self.append_turn(episode, observation)
            self.final[episode] = (self.current[episode], len(self.current[episode].ids) - 1)

    def episodes(self, device: torch.device) -> Episodes:
        """Everything played, as tensors on `device`."""
        sequences = sorted([*self.finished, *self.current], key=lambda s: s.episode)
        position = {id(s): i for i, s in enumerate(sequences)}
        length = [len(s.ids) for s in sequences]
        ids = np.full((len(sequences), max(length)), self.pad, dtype=np.int64)
        for row, s in zip(ids, sequences, strict=True):
            row[: len(s.ids)] = s.ids
        spans = np.array([(i, *span) for i, s in enumerate(sequences) for span in s.spans], dtype=np.int64)
        count = spans[:, 2]
        offset = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)

        def tensor(x: Any) -> Tensor:
            return torch.as_tensor(x, device=device)

        return Episodes(
            ids_ST=tensor(ids),
            length_S=tensor(length),
            episode_S=tensor([s.episode for s in sequences]),
            sequence_N=tensor(np.repeat(spans[:, 0], count)),
            column_N=tensor(np.repeat(spans[:, 1], count) + offset),
            turn_N=tensor(np.repeat(spans[:, 3], count)),
            logp_N=tensor(np.array([x for s in sequences for x in s.logp], dtype=np.float32)),
            outcomes=self.outcomes,
            final={e: (position[id(s)], column) for e, (s, column) in self.final.items()},
        )
