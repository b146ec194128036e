"""TextWorld: any game file, or generated suites (coin collector, treasure hunter, cooking) with walkthrough experts."""

from __future__ import annotations

import random
import re
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from atod_sweep.envs.benchmarks.base import Answer, Benchmark, choice
from atod_sweep.envs.benchmarks.optional import optional
from atod_sweep.envs.contract import Split
from atod_sweep.envs.families.game import STYLES, read_action
from atod_sweep.errors import UserError, in_a_line
from atod_sweep.paths import cache_dir, expanded

# Suite -> its settings, as the challenge of that name takes them.
SUITES: dict[str, dict[str, int]] = {
    "coin_collector": {"level": 5},
    "treasure_hunter": {"level": 5},
    "cooking": {"recipe": 1, "take": 1, "go": 1, "open": 0, "cook": 1, "cut": 1},
}
# Cooking has splits of its own, by food and preparation.
_COOKING_SPLITS: dict[Split, str] = {"train": "train", "eval": "test"}
# Commands to the interpreter instead of the game; they would end it, ask back, or disturb the tracking of its state.
_META = re.compile(r"(tw-|(quit|q|restart|restore|save|undo|script|transcript|verify|version|notify)\b)")
_NOT_HERE = "That command is not available here."
_MOST_TRIES = 20


class TextWorld(Benchmark):
    """Text adventures; see `card`.

    `suite`, `settings`: what is generated (see SUITES; `settings` replaces some of the defaults). `train_games`,
    `eval_games`: how many different games a split has. `games`: a game file, or a folder of them, to play instead.
    `style`: "compact" (lower-case words) or "natural". `tracking`: false plays faster, but knows neither the admissible
    commands nor a demonstrator.
    """

    name = "textworld"
    metric_names = ("score", "valid")
    reads = ("games",)
    slow = True

    def __init__(
        self,
        horizon: int = 50,
        style: str = "compact",
        suite: str = "coin_collector",
        settings: dict[str, int] | None = None,
        train_games: int = 32,
        eval_games: int = 16,
        games: str = "",
        tracking: bool = True,
    ) -> None:
        super().__init__(horizon)
        self.style = choice("style", style, STYLES)
        self.suite = choice("suite", suite, SUITES)
        changed = {choice("settings", key, SUITES[suite]): value for key, value in (settings or {}).items()}
        self.settings = SUITES[suite] | changed
        for key, count in (("train_games", train_games), ("eval_games", eval_games)):
            if count < 1:
                raise UserError(f"env.kwargs.{key}: at least 1, got {count!r}")
        self.games, self.tracking = games, tracking
        self.counts: dict[Split, int] = {"train": train_games, "eval": eval_games}
        self._library = _textworld("textworld")
        self._path: Path | None = None

    def start(self, seed: int, split: Split) -> tuple[str, dict[str, Any]]:
        path = self._file(seed, split)
        if path != self._path:
            self.close()
            self._game, self._path = self._open(path), path
        self._state = self._game.reset()
        self._valid = 0
        return self._observation(self._state.feedback), {"game": str(path)}

    def _file(self, seed: int, split: Split) -> Path:
        rng = random.Random(seed)
        if self.games:
            return rng.choice(game_files(self.games, split))
        return generated(self.suite, tuple(self.settings.items()), split, rng.randrange(self.counts[split]))

    def _open(self, path: Path) -> Any:
        wanted = {"won": True, "lost": True, "score": True, "max_score": True}
        if self.tracking and path.with_suffix(".json").exists():
            wanted |= {"admissible_commands": True, "policy_commands": True}
        with warnings.catch_warnings():
            # The interpreter warns that it knows no scores of games that are not among the classics.
            warnings.simplefilter("ignore")
            try:
                return self._library.start(str(path), self._library.EnvInfos(**wanted))
            except Exception as error:  # an interpreter has a way of its own for every broken file
                raise UserError(f"env.kwargs.games: cannot play {str(path)!r}: {in_a_line(error)}") from error

    def play(self, text: str) -> Answer:
        command = re.sub(r"[^a-z0-9 ',.-]", "", read_action(text))
        tracked = self._state.admissible_commands
        self.admitted = None if tracked is None else command in tracked
        if not command or _META.match(command):
            return Answer(self._observation(_NOT_HERE), 0.0, False)
        self._valid += bool(self.admitted)
        self._state, _, _ = self._game.step(command)
        won, lost = bool(self._state.won), bool(self._state.lost)
        return Answer(self._observation(self._state.feedback), float(won), won or lost)

    def outcome(self) -> tuple[float, dict[str, float]]:
        """`score`: the game's own, as a share of its maximum; `valid`: share of admissible commands, if tracked."""
        most = self._state.max_score
        metrics = {"score": self._state.score / most} if most else {}
        if self._state.admissible_commands is not None:
            metrics["valid"] = self._valid / self.turn
        return float(bool(self._state.won)), metrics

    def _observation(self, feedback: str) -> str:
        text = clean(feedback)
        return " ".join(re.findall(r"[\w']+", text.lower())) if self.style == "compact" else text

    def close(self) -> None:
        if self._path is not None:
            self._game.close()
            self._path = None

    # ---- for teachers and reports ------------------------------------------------------------------------------

    def demonstrator_action(self) -> str:
        """The next command of a shortest way to win from here; "look" where there is none any more."""
        policy = self._state.policy_commands
        if policy is None:
            raise UserError(
                f"no demonstrator for {str(self._path)!r}: it takes tracking: true and the .json file that TextWorld "
                "writes beside a game"
            )
        return str(policy[0]) if policy else "look"

    def actions(self) -> list[str]:
        """The admissible commands of the current state, if they are tracked; else some that every game knows."""
        tracked = self._state.admissible_commands if self._path else None
        return ["inventory", "look", "wait"] if tracked is None else list(tracked)

    def card(self) -> str:
        return _CARD


def clean(feedback: str) -> str:
    """A game's text without the title drawn in ASCII, the status line behind the prompt, and runs of empty lines."""
    head, prompt, tail = feedback.rpartition("\n>")
    text = head if prompt and re.fullmatch(r"\s*(-=.*=-\S*)?\s*", tail) else feedback
    lines = [line.strip() for line in text.splitlines() if not re.fullmatch(r"[\s_\\|/$<>]+", line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


# ---- games -------------------------------------------------------------------------------------------------------


@cache
def game_files(place: str, split: Split) -> tuple[Path, ...]:
    """Paths of a split's games. A single file is in both; a folder has train/ and eval/, or one in four is held out.

    Raises UserError if there is none.
    """
    root = expanded(place)
    if root.is_file():
        return (root,)
    parts = root / split
    found = sorted(
        path for path in (parts if parts.is_dir() else root).rglob("*") if re.fullmatch(r"\.(z[1-8]|ulx)", path.suffix)
    )
    if not found:
        raise UserError(f"env.kwargs.games: no .z8 or .ulx file in {place!r}; leave games out to generate some")
    if parts.is_dir() or len(found) == 1:
        return tuple(found)
    held_out = found[3::4] or found[-1:]
    return tuple(held_out if split == "eval" else [path for path in found if path not in held_out])


def generated(suite: str, settings: tuple[tuple[str, int], ...], split: Split, index: int) -> Path:
    """The file of a generated game: made in some seconds the first time, in the user's cache from then on."""
    version = _textworld("textworld").__version__
    words = "-".join(f"{key}{value}" for key, value in settings)
    path = cache_dir() / "textworld" / version / f"{suite}-{words}" / f"{split}{index}.z8"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = _make(suite, dict(settings), split, index, Path(folder) / path.name)
            for suffix in (".json", ".z8"):  # the game last: its presence means that all is there
                made.with_suffix(suffix).replace(path.with_suffix(suffix))
    return path


def _make(suite: str, settings: dict[str, int], split: Split, index: int, path: Path) -> Path:
    challenge = getattr(_textworld("textworld.challenges"), suite)
    generator = _textworld("textworld.generator")
    more = {"drop": False, "recipe_seed": index + 1, "split": _COOKING_SPLITS[split]} if suite == "cooking" else {}
    for attempt in range(_MOST_TRIES):
        options = _textworld("textworld").GameOptions()
        options.seeds = random.Random(f"{suite} {split} {index} {attempt}").randrange(2**31)
        options.path = str(path)
        try:
            game = challenge.make({**settings, **more}, options)
        except generator.QuestGenerationError:  # some seeds give no quest of that length
            continue
        return Path(generator.compile_game(game, options))
    raise UserError(f"env.kwargs.settings: TextWorld finds no {suite} game of {settings} in {_MOST_TRIES} tries")


def _textworld(module: str) -> Any:
    return optional(
        module, "env.id: 'textworld'", 'pip install "atod-sweep[textworld]" (compiles jericho: needs gcc and make)'
    )


_CARD = """# textworld

Text adventures of the TextWorld package: generated suites, or any game file. Commands are free text.

**Suites.** `coin_collector` (find a coin; level 1 to 300), `treasure_hunter` (find an object; level 1 to 30), `cooking`
(gather, cut, cook and eat by a recipe). Their text states the way to the goal, as TextWorld's does by default. Games
are generated when first met, which takes 2 to 10 seconds each, and cached. The splits of the first two differ by
generator seed only; cooking has TextWorld's own splits by food and preparation.

**Reward.** 1 for winning. `score`: the game's own score as a share of its maximum; `valid`: share of the actions that
were admissible commands.

**Demonstrator.** TextWorld's own planner, from the current state; it knows the whole map.

**Limits.** Some 50 to 300 steps a second, so training plays it in worker processes. The words of a game are not known
beforehand, so there is no vocabulary, and compact models cannot be trained on it. Commands to the interpreter (quit,
save, undo ...) are refused. The original files' .ulx games need textworld < 1.7.
"""
