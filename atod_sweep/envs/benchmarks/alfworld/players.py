"""Who plays an ALFWorld game: our engine, or the official environment. Either answers commands and knows an expert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from atod_sweep.envs.benchmarks.alfworld.engine import Engine
from atod_sweep.envs.benchmarks.alfworld.expert import Expert
from atod_sweep.envs.benchmarks.alfworld.game import Game
from atod_sweep.envs.benchmarks.optional import optional
from atod_sweep.errors import UserError


class Deal(NamedTuple):
    """A game to play: ready for our engine, and as the official environment reads it."""

    name: str
    game: Callable[[], Game]
    data: Callable[[], dict[str, Any]]


class Fast:
    """Our engine. `knowing`: whether its expert knows where everything is."""

    def __init__(self, knowing: bool) -> None:
        self._knowing = knowing

    def start(self, deal: Deal) -> str:
        self._engine = Engine(deal.game())
        self._expert = Expert(self._engine, self._knowing)
        return self._engine.reset()

    def step(self, command: str) -> tuple[str, bool]:
        text, won, action = self._engine.step(command)
        self._expert.observe(action)
        return text, won

    def commands(self) -> list[str]:
        return sorted(self._engine.commands())

    def expert_command(self) -> str:
        return self._expert.command()


class Official:
    """textworld's PDDL environment under ALFWorld's own names: slow, and the measure of ours.

    Each object keeps a planner library of 34 MB loaded, so play many games with one. The expert is that of our engine,
    which plays along; a game whose rules our engine does not follow has none.
    """

    def __init__(self, knowing: bool) -> None:
        what, command = "env.kwargs.engine: 'official'", "pip install alfworld (its dependencies compile for minutes)"
        textworld, pddl = (optional(name, what, command) for name in ("textworld", "textworld.envs.pddl"))
        names = optional("alfworld.agents.environment.alfred_tw_env", what, command)
        self._env = names.AlfredDemangler(pddl.PddlEnv(textworld.EnvInfos(admissible_commands=True)), shuffle=False)
        self._knowing = knowing
        self._shadow: Fast | None = None

    def start(self, deal: Deal) -> str:
        """Load a game, which takes a second or so; the first observation."""
        self._shadow = Fast(self._knowing)
        try:
            self._shadow.start(deal)
        except UserError as error:
            self._shadow, self._no_expert = None, str(error)
        self._env.load(deal.data())
        self._state = self._env.reset()
        return str(self._state.feedback)

    def step(self, command: str) -> tuple[str, bool]:
        if self._shadow:
            self._shadow.step(command)
        self._state, _, won = self._env.step(command)
        return str(self._state.feedback), bool(won)

    def commands(self) -> list[str]:
        return list(self._state["admissible_commands"])

    def expert_command(self) -> str:
        if self._shadow is None:
            raise UserError(f"no demonstrator for this game: {self._no_expert}")
        return self._shadow.expert_command()
