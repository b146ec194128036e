"""A teacher: it scores what the student said, and it acts where the student stands. Some can do only one of the two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.play.talk import Exchange
from atod_sweep.training.scoring import FullDistribution


@dataclass(frozen=True)
class State:
    """Where an action is to be taken: the turns that the student was shown, as it said them, and what is observed.

    `episode`: its number in a play, of which random numbers are; None: as states come.
    """

    past: Sequence[Exchange]
    observation: str
    episode: int | None = None


@dataclass(frozen=True)
class Action:
    """What a teacher does in a state.

    `text`: what the environment hears. `ids`: what the student would have had to say for it, its end included.
    `tokens`: how many the teacher generated. `cut`: it reached its longest length. `marked`: it has the action's marks,
    if there are any.
    """

    text: str
    ids: tuple[int, ...]
    tokens: int
    cut: bool = False
    marked: bool | None = None


@dataclass(frozen=True)
class Shown:
    """Episodes that a teacher played, as tokens of the student's vocabulary, and what they came to.

    `cost`: what they add to the bill.
    """

    batch: TokenBatch
    outcomes: list[Outcome]
    cost: dict[str, int]


class Teacher(ABC):
    """What objectives may ask. What a kind cannot do is refused before anything runs, by its config.

    `judges`: whether it can score, at any temperature, what a student says that is merely looked at.
    """

    judges: bool

    def bill(self) -> dict[str, float]:
        """What asking it has cost since this was last read, by name: of those that are paid for."""
        return {}

    @abstractmethod
    def score(self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int) -> TokenBatch:
        """`batch` with what `training.scoring.score` adds to it under the name `teacher`. Raises TeacherFailed."""

    @abstractmethod
    def whole(self, batch: TokenBatch, temperature: float) -> Tensor:
        """Log-probs (N, V) of what `score` was asked whole distributions of."""

    @abstractmethod
    def act(self, states: Sequence[State], temperature: float, generator: torch.Generator) -> list[Action]:
        """One action in each state; temperature 0 takes the likeliest tokens."""

    @abstractmethod
    def play(self, tasks: list[int], temperature: float, generator: torch.Generator) -> Shown:
        """One training episode on each task."""
