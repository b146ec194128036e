"""What remains of played conversations: token sequences with a loss mask, outcomes, and the book-keeping for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atod_sweep.envs.checked import Answer, admitted
from atod_sweep.envs.failures import EnvironmentFailed, EnvironmentTimeout
from atod_sweep.envs.pool import LOST
from atod_sweep.errors import UserError
from atod_sweep.training.play.context import Context, TooLong
from atod_sweep.training.play.talk import Conversation, Exchange


@dataclass
class Act:
    """How one action came about. `surprisal`: -log p of its tokens, summed, at the temperature of sampling;
    None where nobody tells.

    `thought` is what came before it, `answer` what it was read from. `cut`: it reached its longest length. `marked`: it
    has the action's marks, if there are any. `admissible`: what the environment says. `ids`: all that was said, the
    thought and the end included. `taken`: somebody else took it, at the price of so many tokens; its own numbers are
    those of the policy that would have had to say it.
    """

    tokens: int
    surprisal: float | None
    cut: bool
    thought: str | None = None
    answer: str = ""
    marked: bool | None = None
    admissible: bool | None = None
    ids: tuple[int, ...] = field(default=(), repr=False)
    taken: int | None = None


@dataclass
class Outcome:
    """What one episode came to."""

    seed: int
    rewards: list[float] = field(default_factory=list)
    success: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    truncated: bool = False
    cut: bool = False  # by a depth of rollouts, in the middle of the task
    dropped_turns: int = 0
    transcript: list[tuple[str, str]] = field(default_factory=list)  # (observation, action) per turn
    acts: list[Act] = field(default_factory=list, compare=False)  # one per turn, too
    stand_in: list[float] | None = None
    """What training is told in the place of `rewards`, if it is told something else."""
    last: str = ""
    """What the environment said at the end, which nobody answered."""

    @property
    def turns(self) -> int:
        return len(self.rewards)

    @property
    def exchanges(self) -> list[Exchange]:
        return [Exchange(seen, act.ids) for (seen, _), act in zip(self.transcript, self.acts, strict=True)]

    @property
    def reward(self) -> float:
        """Undiscounted sum of what the environment paid."""
        return float(sum(self.rewards))

    @property
    def messages(self) -> list[dict[str, str]]:
        """The whole episode as messages: the environment is the user, and has the last word."""
        said = [
            {"role": role, "content": text}
            for turn in self.transcript
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        return [*said, {"role": "user", "content": self.last}]

    @property
    def signal(self) -> list[float]:
        """The reward of every turn that training is told of."""
        return self.rewards if self.stand_in is None else self.stand_in

    @property
    def total(self) -> float:
        """Undiscounted sum of what training is told."""
        return float(sum(self.signal))


@dataclass
class TokenSequence:
    """One token sequence of an episode, which has several if its context overflowed, or if each turn is one."""

    episode: int
    ids: list[int]
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

    @property
    def taken_N(self) -> Tensor | None:
        """Of which tokens the turn was played by somebody else; None if no turn was."""
        acts = [outcome.acts for outcome in self.outcomes]
        if all(act.taken is None for of_one in acts for act in of_one):
            return None
        episode_N = self.episode_S[self.sequence_N]
        taken = [acts[e][k].taken is not None for e, k in zip(episode_N.tolist(), self.turn_N.tolist(), strict=True)]
        return torch.tensor(taken, device=episode_N.device)

    @property
    def cost(self) -> dict[str, int]:
        """What they add to a trial's bill."""
        taken = [act for outcome in self.outcomes for act in outcome.acts if act.taken is not None]
        return {
            "episodes": len(self.outcomes),
            "env_steps": self.env_steps,
            "tokens": self.tokens,
            "generated_tokens": len(self.column_N) - sum(act.tokens for act in taken),
            "dropped_turns": sum(o.dropped_turns for o in self.outcomes),
            **({"teacher_generated_tokens": sum(act.taken or 0 for act in taken)} if taken else {}),
        }


@dataclass(frozen=True)
class Limits:
    """Bounds on one episode. `context` counts tokens, prompt and action included."""

    action_tokens: int
    context: int


@dataclass(frozen=True)
class Chunk:
    """Ids to feed for one row before its next action; `rewind`: how many of its cached ids stay, None for all."""

    ids: list[int]
    rewind: int | None


class EpisodeBook:
    """The book-keeping of `Player.play`: one current sequence per episode, finished sequences, outcomes."""

    def __init__(
        self, conversation: Conversation, limits: Limits, seeds: list[int], rewinds: bool = True, penalty: float = 0.0
    ) -> None:
        """`rewinds`: the decoder can go back to any point of what it was fed, not only to the start.

        `penalty`: what an answer without the action's marks costs.
        """
        self.conversation, self.limits, self.rewinds, self.penalty = conversation, limits, rewinds, penalty
        self.pad = conversation.tokenizer.pad_token_id or 0
        # what may follow an observation: the longest action, and the end that is appended to it when it is cut off
        self.answer = conversation.answer_tokens(limits.action_tokens) + len(conversation.end_ids)
        self.outcomes = [Outcome(seed) for seed in seeds]
        self.contexts = [Context(conversation, limits.context) for _ in seeds]
        self.current = [TokenSequence(i, context.ids) for i, context in enumerate(self.contexts)]
        self.finished: list[TokenSequence] = []
        self.final: dict[int, tuple[TokenSequence, int]] = {}
        self.fed = [0] * len(seeds)  # ids of the current sequence that are in the decoder's cache

    def append_turn(self, episode: int, observation: str) -> Chunk:
        """Add an observation's ids to the episode's sequence, or begin another where they cannot go behind it."""
        sequence, context, rewind = self.current[episode], self.contexts[episode], None
        try:
            anew = context.ask(observation, self.answer)
        except TooLong as error:
            raise UserError(
                f"an observation needs {error.tokens} tokens, which with rollout.max_action_tokens = "
                f"{self.limits.action_tokens} and the action's end exceeds the context of {self.limits.context}; "
                "raise rollout.max_context_tokens, or take a model with more positions"
            ) from None
        if anew:
            if sequence.spans:
                self.finished.append(sequence)
            rewind = _common(sequence.ids[: self.fed[episode]], context.ids) if self.rewinds else 0
            self.fed[episode] = rewind
            sequence = self.current[episode] = TokenSequence(episode, context.ids)
            self.outcomes[episode].dropped_turns = context.dropped
        chunk = sequence.ids[self.fed[episode] :]
        self.fed[episode] = len(sequence.ids)
        return Chunk(chunk, rewind)

    def append_action(
        self,
        episode: int,
        ids: list[int],
        logp: list[float],
        learned: list[tuple[int, int]] | None = None,
        taken: int | None = None,
    ) -> None:
        """Add a generated action; an action that was cut off gets its end, which carries no loss.

        `learned`: (first, count) of those of the ids that carry loss; None: all of them. `taken`: see `Act`.
        """
        sequence, outcome = self.current[episode], self.outcomes[episode]
        said, surprisal = 0, 0.0
        for first, count in learned or [(0, len(ids))]:
            sequence.spans.append((len(sequence.ids) + first, count, outcome.turns))
            part = logp[first : first + count]
            sequence.logp += part
            said, surprisal = said + count, surprisal - sum(part)
        self.fed[episode] += len(ids) - 1
        ended = ids[-1] in self.conversation.stop_ids
        cut = not ended and not self.conversation.is_stopped(tuple(ids[-self.limits.action_tokens :]))
        whole = tuple(ids)
        reply, marks = self.conversation.said(whole), self.conversation.format.marks
        marked = None if marks is None else self.conversation.heard(whole) is not None
        closed = whole if ended else (*whole, *self.conversation.end_ids)
        act = Act(said, surprisal, cut, reply.thought, reply.action, marked, ids=closed, taken=taken)
        outcome.acts.append(act)
        self.contexts[episode].answer(closed)

    def record(self, episode: int, step: Answer) -> bool:
        """File an environment's answer; True if the episode is over."""
        outcome = self.outcomes[episode]
        if step.info.get(LOST) == "timeout":
            raise EnvironmentTimeout(f"a step of task seed {outcome.seed} took longer than rollout.step_timeout")
        if LOST in step.info:
            raise EnvironmentFailed(f"task seed {outcome.seed} was lost to a {step.info[LOST]} of its environment")
        act = outcome.acts[-1]
        act.admissible = admitted(step)
        outcome.rewards.append(step.reward - self.penalty if act.marked is False else step.reward)
        if not (step.terminated or step.truncated):
            return False
        outcome.last = step.observation
        outcome.success, outcome.metrics = step.info["success"], step.info["metrics"]
        outcome.truncated = step.truncated and not step.terminated
        return True

    def cut(self, episode: int, depth: int | None) -> bool:
        """Whether an episode that goes on ends here all the same, after `depth` turns."""
        outcome = self.outcomes[episode]
        outcome.cut = outcome.truncated = depth is not None and outcome.turns >= depth
        return outcome.cut

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
        spans = np.array([(i, *span) for i, s in enumerate(sequences) for span in s.spans], dtype=np.int64)
        count = spans[:, 2]
        offset = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)

        def tensor(x: Any) -> Tensor:
            return torch.as_tensor(x, device=device)

        return Episodes(
            ids_ST=tensor(padded([s.ids for s in sequences], self.pad)),
            length_S=tensor(length),
            episode_S=tensor([s.episode for s in sequences]),
            sequence_N=tensor(np.repeat(spans[:, 0], count)),
            column_N=tensor(np.repeat(spans[:, 1], count) + offset),
            turn_N=tensor(np.repeat(spans[:, 3], count)),
            logp_N=tensor(np.array([x for s in sequences for x in s.logp], dtype=np.float32)),
            outcomes=self.outcomes,
            final={e: (position[id(s)], column) for e, (s, column) in self.final.items()},
        )


def padded(rows: Sequence[Sequence[int]], pad: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Ids of different lengths as one array, filled up on the right."""
    ids_ST = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    for row, ids in zip(ids_ST, rows, strict=True):
        row[: len(ids)] = ids
    return ids_ST


def _common(cached: list[int], wanted: list[int]) -> int:
    """How many ids at the start of `wanted` are cached; at least one remains to be fed."""
    most = min(len(cached), len(wanted) - 1)
    return next((i for i in range(most) if cached[i] != wanted[i]), most)
