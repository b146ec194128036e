"""ALFWorld-format games as a Gymnasium environment."""

from __future__ import annotations

import random
from functools import lru_cache, partial
from typing import Any

from atod_sweep.envs.benchmarks.alfworld import files, generate
from atod_sweep.envs.benchmarks.alfworld.engine import NOTHING
from atod_sweep.envs.benchmarks.alfworld.game import load, own_grammar, prepare
from atod_sweep.envs.benchmarks.alfworld.players import Deal, Fast, Official
from atod_sweep.envs.benchmarks.alfworld.wheel import TASKS, folder
from atod_sweep.envs.benchmarks.alfworld.words import COMMANDS, compact, vocabulary
from atod_sweep.envs.benchmarks.base import Answer, Benchmark, choice
from atod_sweep.envs.benchmarks.records import read_json
from atod_sweep.envs.contract import Split
from atod_sweep.envs.families.game import STYLES, read_action
from atod_sweep.errors import UserError

_PLAYERS: dict[str, type[Fast] | type[Official]] = {"fast": Fast, "official": Official}
_DEMONSTRATORS = ("searching", "knowing")
_ALWAYS = ["help", "inventory", "look"]
_FEWEST_RECEPTACLES = 2


class AlfWorld(Benchmark):
    """Household tasks in text; see `card`.

    `style`: "compact" (lower-case words) or "natural" (the official text). `receptacles`: at most so many in a room,
    and about as many objects (None: rooms as large as the floor plans). `tasks`: some of the six task types.
    `commands`: list the admissible commands in every observation. `demonstrator`: "searching" knows what the agent was
    shown, "knowing" where everything is. `games`: folder of official game files to play instead of generated ones, such
    as "$ALFWORLD_DATA". `engine`: "fast", or "official" for the official environment.
    """

    name = "alfworld"
    metric_names = ("valid",)
    reads = ("games",)

    def __init__(
        self,
        horizon: int = 50,
        style: str = "compact",
        receptacles: int | None = None,
        tasks: list[str] | None = None,
        commands: bool = False,
        demonstrator: str = "searching",
        games: str = "",
        engine: str = "fast",
    ) -> None:
        super().__init__(horizon)
        if receptacles is not None and receptacles < _FEWEST_RECEPTACLES:
            raise UserError(f"env.kwargs.receptacles: at least {_FEWEST_RECEPTACLES}, got {receptacles!r}")
        folder()  # fail here, not at the first reset
        self.style = choice("style", style, STYLES)
        self.games, self.list_commands = games, commands
        self.tasks = tuple(choice("tasks", task, TASKS) for task in tasks or TASKS)
        self.size = generate.Size(receptacles, (receptacles, receptacles + 2)) if receptacles else generate.Size()
        knowing = choice("demonstrator", demonstrator, _DEMONSTRATORS) == "knowing"
        self.slow = engine == "official"
        self._player = _PLAYERS[choice("engine", engine, _PLAYERS)](knowing)
        self._started = False

    def start(self, seed: int, split: Split) -> tuple[str, dict[str, Any]]:
        if self.games:
            deal = _from_file(self.games, seed, split, self.tasks)
        else:
            deal = _generated(seed, split, self.size, self.tasks)
        text = self._player.start(deal)
        self._won, self._valid, self._started = False, 0, True
        if self.style == "compact":
            text = text.partition("\n\n")[2]  # without the greeting
        return self._observation(text), {"game": deal.name}

    def play(self, text: str) -> Answer:
        feedback, self._won = self._player.step(read_action(text))
        self.admitted = feedback != NOTHING
        self._valid += self.admitted
        return Answer(self._observation(feedback), float(self._won), self._won)

    def outcome(self) -> tuple[float, dict[str, float]]:
        """`valid`: share of the actions that were admissible commands."""
        return float(self._won), {"valid": self._valid / self.turn}

    def _observation(self, text: str) -> str:
        if self.list_commands:
            text += f"\n\n{COMMANDS} {', '.join(self._player.commands())}."
        return compact(text) if self.style == "compact" else text

    # ---- for teachers and reports ------------------------------------------------------------------------------

    def demonstrator_action(self) -> str:
        return self._player.expert_command()

    def actions(self) -> list[str]:
        """The admissible commands of the current state, sorted; before the first game, those that are always there."""
        return self._player.commands() if self._started else _ALWAYS

    def vocabulary(self) -> list[str]:
        """Of generated games, and of official ones whose task is in ALFWorld's own words."""
        return vocabulary(self.style == "natural")

    def remarks(self) -> list[str]:
        """Which of the official games are left out."""
        if not self.games:
            return []
        return [line for split in files.FOLDERS for line in files.library(self.games, split, self.tasks).remarks]

    def card(self) -> str:
        return _CARD


@lru_cache(maxsize=256)  # the rollouts of a group play one game
def _generated(seed: int, split: Split, size: generate.Size, tasks: tuple[str, ...]) -> Deal:
    rng = random.Random(f"alfworld {split} {seed}")
    problem = generate.draw(rng, split, size, tasks)
    sentence = rng.choice(problem.goal.sentences())
    game = prepare(problem, own_grammar().with_task(sentence))
    return Deal(f"{problem.goal.task} {problem.name}", lambda: game, partial(files.game_data, problem, sentence))


def _from_file(folder: str, seed: int, split: Split, tasks: tuple[str, ...]) -> Deal:
    path = random.Random(seed).choice(files.game_files(folder, split, tasks))
    return Deal(str(path), partial(_load, path), lambda: dict(read_json(path)))


_load = lru_cache(maxsize=256)(load)

_CARD = """# alfworld (ALFWorld-format games)

Household tasks in a room of receptacles (some of them shut) and objects. Commands: `go to`, `open`, `close`, `take ...
from`, `move ... to`, `clean`/`heat`/`cool ... with`, `slice ... with`, `use`, `examine`, `look`, `inventory`, `help`.

**Rules.** ALFWorld's own PDDL domain and wording, read from the installed wheel (`pip install --no-deps alfworld`) and
played by an engine whose observations, admissible commands and wins equal the official environment's, command by
command. Six task types: put, put two, look under a lamp, and put after cleaning, heating or cooling.

**Games.** By default generated from the wheel's floor plans and affordance tables: object counts and placements are
ours, so scores are comparable with each other but not with published ones. Train games play in ALFRED's 96 seen floor
plans, evaluation games in its 24 unseen ones. `receptacles: 6` makes small rooms. With `games: $ALFWORLD_DATA` the
official games are played (train/ and valid_unseen/), with `engine: official` through the official environment, at 5 to
35 steps a second.

**Reward.** 1 when the task is done, else 0. `valid`: share of the actions that were admissible commands.

**Demonstrator.** Plans anew from the current state, so it can label any trajectory. `searching` knows only what the
agent was shown and looks for the rest, in receptacles of rare types first; it is not the shortest way. `knowing` goes
straight to what it needs, which an agent cannot learn from what it sees.

**Limits.** Nothing lies inside bowls, pots and the like. Commands are read leniently: case, and punctuation around a
command, do not matter; the official environment takes them literally.
"""
