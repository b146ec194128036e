"""What the published benchmarks share: seeds and splits, the turn limit, spaces that hold any text."""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text

from atod_sweep.envs.contract import TRAIN_SEEDS, Split, split_of_seed
from atod_sweep.errors import UserError


def choice(key: str, value: str, known: Iterable[str]) -> str:
    """`value`, one of the known ones of a constructor's argument `key`; else UserError."""
    known = list(known)
    if value not in known:
        raise UserError(f"env.kwargs.{key}: unknown value {value!r}; known: {', '.join(known)}")
    return value


class AnyText(Text):
    """Every string; samples are printable ASCII."""

    def __init__(self) -> None:
        super().__init__(max_length=4096, min_length=0, charset=string.printable)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)


class Answer(NamedTuple):
    """What one action led to. `over` ends the episode."""

    observation: str
    reward: float
    over: bool


class Benchmark(gymnasium.Env[str, str]):
    """A text game of at most `horizon` turns whose tasks are found by seed and split."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    name: ClassVar[str]
    metric_names: ClassVar[tuple[str, ...]]  # of what `outcome` can report beside success
    option_metrics: ClassVar[dict[str, tuple[str, ...]]] = {}  # further ones, by the argument that turns them on
    reads: ClassVar[tuple[str, ...]] = ()  # arguments of the constructor that name files of others

    def __init__(self, horizon: int) -> None:
        if horizon < 1:
            raise UserError(f"env.horizon: {self.name} needs at least 1 turn, got {horizon!r}")
        self.horizon = horizon
        self.turn = 0
        self.admitted: bool | None = None  # whether the state admitted the last action; None where nobody can tell
        self._over = True
        self.observation_space = AnyText()
        self.action_space = AnyText()

    @abstractmethod
    def start(self, seed: int, split: Split) -> tuple[str, dict[str, Any]]:
        """Set up the task of a seed; the first observation, and what tells the task from others."""

    @abstractmethod
    def play(self, text: str) -> Answer:
        """Answer any text."""

    @abstractmethod
    def outcome(self) -> tuple[float, dict[str, float]]:
        """Success (0 to 1) and the metrics beside it, of the finished episode."""

    def violations(self) -> dict[str, int] | None:
        """How often each rule was broken that the reward knows nothing of; None where there are no such rules."""
        return None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start the task of `seed` in `options["split"]`; without the option the seed's range decides the split."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(TRAIN_SEEDS.stop))
        split = (options or {}).get("split") or split_of_seed(seed)
        if split not in ("train", "eval"):
            raise UserError(f"split: unknown split {split!r}; use 'train' or 'eval'")
        self.turn = 0
        self._over = False
        return self.start(seed, split)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action. The episode ends with the game (terminated) or when time is up (truncated)."""
        if self._over:
            raise ResetNeeded(f"{self.name}: the episode is over or was never started; call reset() first")
        self.turn += 1
        observation, reward, terminated = self.play(action)
        truncated = self.turn >= self.horizon and not terminated
        self._over = terminated or truncated
        info: dict[str, Any] = {} if self.admitted is None else {"is_admissible": self.admitted}
        if self._over:
            success, metrics = self.outcome()
            info |= {"success": success, "metrics": metrics}
            if (broken := self.violations()) is not None:
                info["violations"] = broken
        return observation, reward, terminated, truncated, info
