"""What the native families share: splits by task content, the turn limit, reading actions."""

from __future__ import annotations

import random
import string
import zlib
from abc import abstractmethod
from collections.abc import Hashable, Iterable
from typing import Any, ClassVar, NamedTuple

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text

from atod_sweep.envs.contract import TRAIN_SEEDS, Split, split_of_seed
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


class Game(gymnasium.Env[str, str]):
    """A procedurally generated text game of at most `horizon` turns, rewarded with 1 at the end if it is solved.

    A family draws a task (`draw`: a hashable record of everything visible in it), deals it (`deal`) and answers actions
    (`play`); the turn limit, the splits and the reward are the same for all.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    name: ClassVar[str]
    horizons: ClassVar[range]

    def __init__(self, horizon: int, style: str) -> None:
        if horizon not in self.horizons:
            low, high = self.horizons[0], self.horizons[-1]
            raise UserError(f"env.horizon: {self.name} plays {low} to {high} turns, got {horizon!r}")
        if style not in STYLES:
            raise UserError(f"env.kwargs.style: unknown style {style!r}; known: {', '.join(STYLES)}")
        self.horizon = horizon
        self.style = style
        self.turn = 0
        self._over = True
        self.observation_space = Text(8192, min_length=0, charset=string.printable)
        self.action_space = Text(_LONGEST_ACTION, min_length=0, charset=string.printable)

    # ---- a family's part ---------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, rng: random.Random) -> Hashable:
        """A task: a record with a stable `repr` that holds all that tells it from other tasks."""

    @abstractmethod
    def deal(self, task: Any) -> str:
        """Set up the drawn task and return the first observation."""

    @abstractmethod
    def play(self, action: str) -> Turn:
        """Answer an action as `read_action` gives it."""

    @abstractmethod
    def metrics(self, solved: bool) -> dict[str, float]:
        """The finished episode's metrics beside success."""

    # ---- gymnasium ---------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start the task of `seed` in `options["split"]`; without the option the seed's range decides the split."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(TRAIN_SEEDS.stop))
        split = (options or {}).get("split") or split_of_seed(seed)
        if split not in ("train", "eval"):
            raise UserError(f"split: unknown split {split!r}; use 'train' or 'eval'")
        rng = random.Random(seed)
        task = self.draw(rng)
        while split_of_task(task) != split:
            task = self.draw(rng)
        self.turn = 0
        self._over = False
        return self.deal(task), {"task": task}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action. The episode ends when the task is solved (terminated) or time is up (truncated)."""
        if self._over:
            raise ResetNeeded(f"{self.name}: the episode is over or was never started; call reset() first")
        self.turn += 1
        observation, solved = self.play(read_action(action))
        truncated = self.turn == self.horizon and not solved
        self._over = solved or truncated
        info = {"success": float(solved), "metrics": self.metrics(solved)} if self._over else {}
        return observation, float(solved), solved, truncated, info
