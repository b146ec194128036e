"""How fast an environment plays on this machine."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from atod_sweep.config.train import Env
from atod_sweep.envs import registry as envs
from atod_sweep.envs.checked import Checked
from atod_sweep.errors import UserError

Player = Literal["demonstrator", "random"]


class Speed(NamedTuple):
    """Episodes played in this process, resets and the choice of actions included.

    `seconds` is wall time, `cpu_seconds` this process's share of it, which other processes on the machine disturb less.
    """

    episodes: int
    steps: int
    seconds: float
    cpu_seconds: float
    success: float

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds


def measure(
    config: Env, player: Player = "demonstrator", seconds: float = 1.0, clock: Callable[[], float] = time.perf_counter
) -> Speed:
    """Play whole episodes for `seconds` of a clock, after one that does not count: it pays for imports and caches.

    "random" chooses among `actions()`. Raises UserError if the environment lacks what the player needs.
    """
    env = Checked(config)
    choose = _chooser(env, player, config.id)
    _episode(env, choose, seed=0)
    episodes, steps, solved = 0, 0, 0.0
    start, began, cpu_began = clock(), time.perf_counter(), time.process_time()
    while not episodes or clock() - start < seconds:
        turns, success = _episode(env, choose, seed=episodes + 1)
        episodes, steps, solved = episodes + 1, steps + turns, solved + success
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    env.close()
    return Speed(episodes, steps, elapsed, cpu, solved / episodes)


def lines(seconds: float) -> Iterator[str]:
    """One for every shipped environment as it is measured: its speed with the demonstrator, or why it has none here."""
    for name in envs.names():
        try:
            horizon = envs.usual_horizon(name)
            speed = measure(Env(id=name, horizon=horizon), seconds=seconds)
        except UserError as problem:
            yield f"{name:14} {problem}"
        else:
            yield (
                f"{name:14} {speed.steps_per_second:>9,.0f} steps/s   "
                f"demonstrator {speed.success:.2f} at horizon {horizon}"
            )


def _chooser(game: Checked, player: Player, env_id: str) -> Callable[[], str]:
    if player == "demonstrator":
        if game.has("demonstrator_action"):
            return game.demonstrator_action
        raise UserError(f"env.id: {env_id!r} has no demonstrator_action(); measure it with the random player")
    if game.has("actions"):
        rng, actions = random.Random(0), game.actions
        return lambda: rng.choice(actions())
    raise UserError(f"env.id: {env_id!r} has no actions() for the random player")


def _episode(env: Checked, choose: Callable[[], str], seed: int) -> tuple[int, float]:
    """Turns and success of one training task."""
    env.reset(seed, "train")
    turns = 0
    while True:
        turns += 1
        answer = env.step(choose())
        if answer.terminated or answer.truncated:
            return turns, answer.info["success"]
