"""Turns of an episode that somebody else than the policy plays, and where episodes end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atod_sweep.training.play.outcomes import EpisodeBook, padded
from atod_sweep.training.play.talk import Conversation
from atod_sweep.training.teachers.teacher import Action, State


@dataclass(frozen=True)
class Wheel:
    """`taken_EK`: the turns (K) of each episode that somebody else plays, by `act`, which is told which turn it is.

    `depth`: turns after which an episode is cut; None: it goes on to its end.
    """

    taken_EK: np.ndarray[Any, np.dtype[np.bool_]]
    act: Callable[[Sequence[State], int], Sequence[Action]]
    depth: int | None = None

    def played(self, book: EpisodeBook, rows: Sequence[int], observations: Mapping[int, str]) -> dict[int, Action]:
        """What somebody else does now in those of the episodes `rows` whose turn it plays."""
        turn = book.outcomes[rows[0]].turns
        theirs = [episode for episode in rows if self.taken_EK[episode, turn]]
        if not theirs:
            return {}
        states = [State(book.outcomes[e].exchanges, observations[e], e) for e in theirs]
        talk, most = book.conversation, book.conversation.answer_tokens(book.limits.action_tokens)
        actions = zip(theirs, self.act(states, turn), strict=True)
        return {e: sayable(action, talk, most) for e, action in actions if action.ids}


def sayable(action: Action, talk: Conversation, most: int) -> Action:
    """The action as a policy would have sampled it: cut off where its own would be, and heard so."""
    said = until_stop(action.ids, talk.stop_ids)
    if len(said) <= most:
        return replace(action, ids=said)
    return replace(action, ids=said[:most], text=talk.decode_action(said[:most]))


@dataclass(frozen=True)
class Given:
    """Answers that some rows (B) of a decoder are made to give: `ids_BJ`, padded; `count_B`: how long, 0 for others."""

    ids_BJ: Tensor
    count_B: Tensor

    @staticmethod
    def of(actions: Sequence[Action | None], device: torch.device) -> Given:
        said = [action.ids if action else () for action in actions]
        return Given(
            torch.as_tensor(padded(said, 0), device=device), torch.tensor([len(ids) for ids in said], device=device)
        )

    def impose(
        self, i: int, token_B: Tensor, logp_B: Tensor, logits_BV: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """The `i`-th tokens and their log-probs, those of given answers in the place of sampled ones."""
        if i >= self.ids_BJ.shape[1]:
            return token_B, logp_B
        given_B = self.ids_BJ[:, i]
        theirs_B = (logits_BV / temperature).log_softmax(-1).gather(1, given_B[:, None])[:, 0]
        is_given_B = i < self.count_B
        return torch.where(is_given_B, given_B, token_B), torch.where(is_given_B, theirs_B, logp_B)

    def follow(self, i: int, going_B: Tensor) -> Tensor:
        """Which rows go on after the `i`-th token: given answers to their end, the others if they are `going`."""
        return torch.where(self.count_B == 0, going_B, i + 1 < self.count_B)


def until_stop(ids: tuple[int, ...], stop_ids: frozenset[int]) -> tuple[int, ...]:
    """Ids up to the first that stops, as a policy would have sampled them; what a template writes behind is left out.

    >>> until_stop((5, 6, 1, 9), frozenset({1})), until_stop((5, 6), frozenset({1}))
    ((5, 6, 1), (5, 6))
    """
    end = next((i for i, token in enumerate(ids) if token in stop_ids), len(ids) - 1)
    return ids[: end + 1]
