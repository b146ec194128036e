"""A tiny environment for trainer tests: name the partner of the last word. Calls end at different turns."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import gymnasium

from atod_sweep.errors import UserError

PARTNER = {"red": "one", "green": "two", "blue": "three"}
FILLER = ("so", "well", "and")
FAULTS = ("none", "raise", "refuse", "hang", "nan")


class Echo(gymnasium.Env[str, str]):
    """Observations of one to four words, of which the last is a colour; the right action is its number.

    A right action earns 1 / horizon. "bye" ends the episode, and so does turn 1 + seed % 5; the horizon truncates it.
    `fault` happens on turn `fault_turn` of every episode whose seed is even.
    """

    def __init__(self, horizon: int = 3, fault: str = "none", fault_turn: int = 1) -> None:
        assert fault in FAULTS
        self.horizon, self.fault, self.fault_turn = horizon, fault, fault_turn

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._seed = seed or 0
        self._random = random.Random(f"{seed} {(options or {}).get('split')}")
        self.turn = self._right = 0
        return self._say(), {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        reward = float(action == PARTNER[self._colour]) / self.horizon
        if self.turn == self.fault_turn and self._seed % 2 == 0:
            if self.fault == "raise":
                raise RuntimeError("the server is gone")
            if self.fault == "refuse":
                raise UserError("env.kwargs.key: the service refuses the key; renew it")
            if self.fault == "hang":
                time.sleep(3)
            if self.fault == "nan":
                reward = math.nan
        self.turn += 1
        self._right += reward > 0
        terminated = action == "bye" or self.turn == 1 + self._seed % 5
        truncated = self.turn == self.horizon and not terminated
        info: dict[str, Any] = {}
        if terminated or truncated:
            share = self._right / self.horizon
            info = {"success": float(share == 1.0), "metrics": {"share": share}}
        return self._say(), reward, terminated, truncated, info

    def _say(self) -> str:
        self._colour = self._random.choice(list(PARTNER))
        return " ".join([*self._random.choices(FILLER, k=self._random.randrange(4)), self._colour])

    def demonstrator_action(self) -> str:
        return PARTNER[self._colour]

    def actions(self) -> list[str]:
        return [*PARTNER.values(), "bye"]

    def vocabulary(self) -> list[str]:
        return [*PARTNER, *FILLER, *self.actions()]


class Script(gymnasium.Env[str, str]):
    """Says `observations` whatever is answered, pays `rewards`, and ends with the last of them."""

    def __init__(self, observations: list[str], rewards: list[float], terminates: bool = True) -> None:
        self.observations, self.rewards, self.terminates = observations, rewards, terminates
        self.heard: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.turn = 0
        self.heard.clear()
        return self.observations[0], {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.heard.append(action)
        self.turn += 1
        over = self.turn == len(self.rewards)
        return self.observations[self.turn], self.rewards[self.turn - 1], over and self.terminates, over, {}


class Mute(Script):
    """An environment with words, and nobody who shows how to use them."""

    def vocabulary(self) -> list[str]:
        return self.observations
