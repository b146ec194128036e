"""A teacher whose weights are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from atod_sweep.training import scoring
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.talk import Exchange
from atod_sweep.training.pretraining.demonstrations import of_played
from atod_sweep.training.scoring import FullDistribution
from atod_sweep.training.teachers.teacher import Action, Shown, State, Teacher


class LocalTeacher(Teacher):
    """A frozen policy. `pupil` plays as the student is talked to; `player` as the teacher is, often the same."""

    def __init__(self, policy: Policy, player: Player, pupil: Player, shared_vocabulary: bool) -> None:
        self.policy, self.player, self.pupil = policy, player, pupil
        self.judges = shared_vocabulary

    def score(self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int) -> TokenBatch:
        return scoring.score(self.policy, batch, "teacher", temperature, full, tokens)

    def whole(self, batch: TokenBatch, temperature: float) -> Tensor:
        return scoring.whole(self.policy, batch, "teacher", temperature)

    def act(self, states: Sequence[State], temperature: float, generator: torch.Generator) -> list[Action]:
        mine, theirs = self.player.conversation, self.pupil.conversation
        if mine is not theirs:
            states = [replace(state, past=[self._as_mine(turn) for turn in state.past]) for state in states]
        actions = []
        places = [(state.past, state.observation) for state in states]
        order = [i if state.episode is None else state.episode for i, state in enumerate(states)]
        for act in self.player.answers(self.policy, places, temperature, generator, order):
            text = mine.decode_action(act.ids)
            said = act.ids if mine is theirs else theirs.encode_action(text)
            actions.append(Action(text, said, act.tokens, act.cut, act.marked))
        return actions

    def _as_mine(self, turn: Exchange) -> Exchange:
        """What the student said, as this teacher would have."""
        action = self.pupil.conversation.decode_action(turn.ids)
        return Exchange(turn.observation, self.player.conversation.encode_action(action))

    def play(self, tasks: list[int], temperature: float, generator: torch.Generator) -> Shown:
        played = self.player.play(self.policy, tasks, "train", temperature, generator)
        cost = played.cost | {"teacher_tokens": played.tokens}
        if self.player is self.pupil:
            return Shown(TokenBatch.of(played), played.outcomes, cost)
        batch, dropped = of_played(played.outcomes, self.pupil, self.policy.device)
        return Shown(batch, played.outcomes, cost | {"dropped_turns": cost["dropped_turns"] + dropped})
