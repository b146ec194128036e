"""What the native families share: splits by task content, reading of actions, success as reward."""

from __future__ import annotations

import random
import string
import zlib
from abc import abstractmethod
from collections.abc import Hashable, Iterable
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from atod_sweep.envs.benchmarks.base import Answer, Benchmark
from atod_sweep.envs.contract import Split
from atod_sweep.errors import UserError

STYLES = ("compact", "natural")

# One task in four is held out.
_EVAL_SHARE = 4
_LONGEST_ACTION = 200
_AROUND = string.punctuation + string.whitespace


class Turn(NamedTuple):
    """What one action led to; `solved` ends the episode with success."""

    observation: str
    solved: bool = False


def read_action(text: str) -> str:
    """The action meant by a model's text: lower case, single spaces, no punctuation or white space around it.

    A text longer than any action reads as "", so that a flood costs nothing.
    """
    if len(text) > _LONGEST_ACTION:
        return ""
    return " ".join(text.lower().strip(_AROUND).split())


def split_of_task(task: Hashable) -> Split:
    """The split a task belongs to by its content, equal in every process (`hash` of a string is not)."""
    return "train" if zlib.crc32(repr(task).encode()) % _EVAL_SHARE else "eval"


def words(texts: Iterable[str]) -> list[str]:
    """The distinct words of some texts, sorted."""
    return sorted({word for text in texts for word in text.split()})


def share(name: str, value: float) -> float:
    """`value` itself, if it is a share; else UserError."""
    if not 0 <= value <= 1:
        raise UserError(f"env.kwargs.{name}: a share from 0 to 1, got {value!r}")
    return value


class Game(Benchmark):
    """A procedurally generated text game of at most `horizon` turns, rewarded with 1 at the end if it is solved.

    A family draws a task (`draw`: a hashable record of everything visible in it), deals it (`deal`) and answers actions
    (`respond`); splits, reading of actions and reward are the same for all.
    """

    horizons: ClassVar[range]

    def __init__(self, horizon: int, style: str) -> None:
        if horizon not in self.horizons:
            low, high = self.horizons[0], self.horizons[-1]
            raise UserError(f"env.horizon: {self.name} plays {low} to {high} turns, got {horizon!r}")
        if style not in STYLES:
            raise UserError(f"env.kwargs.style: unknown style {style!r}; known: {', '.join(STYLES)}")
        super().__init__(horizon)
        self.style = style

    # ---- a family's part ---------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, rng: random.Random) -> Hashable:
        """A task: a record with a stable `repr` that holds all that tells it from other tasks."""

    @abstractmethod
    def deal(self, task: Any) -> str:
        """Set up the drawn task and return the first observation."""

    @abstractmethod
    def respond(self, action: str) -> Turn:
        """Answer an action as `read_action` gives it."""

    @abstractmethod
    def metrics(self, solved: bool) -> dict[str, float]:
        """The finished episode's metrics beside success."""

    @abstractmethod
    def actions(self) -> list[str]:
        """All action texts, whatever the state."""

    # ---- what every environment does -------------------------------------------------------------------------

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.actions())

    def start(self, seed: int, split: Split) -> tuple[str, dict[str, Any]]:
        """Draw tasks from the seed until one belongs to the split."""
        rng = random.Random(seed)
        task = self.draw(rng)
        while split_of_task(task) != split:
            task = self.draw(rng)
        return self.deal(task), {"task": task}

    def play(self, text: str) -> Answer:
        action = read_action(text)
        self.admitted = action in self._known
        observation, self._solved = self.respond(action)
        return Answer(observation, float(self._solved), self._solved)

    def outcome(self) -> tuple[float, dict[str, float]]:
        return float(self._solved), self.metrics(self._solved)
