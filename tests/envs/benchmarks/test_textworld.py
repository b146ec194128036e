"""TextWorld: generated suites and game files."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest
from env_answers import check_answers
from gymnasium.utils.env_checker import check_env
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atod_sweep.envs.benchmarks import optional as optional_module
from atod_sweep.envs.benchmarks import textworld
from atod_sweep.envs.benchmarks.textworld import TextWorld, clean, game_files
from atod_sweep.errors import UserError

needs_textworld = pytest.mark.skipif(
    importlib.util.find_spec("textworld") is None, reason="needs pip install textworld (which compiles jericho)"
)


# ---- without the package -----------------------------------------------------------------------------------------


TITLE = "\n\n  ____  __ \n | $$ \\| $$|\n  \\$$__/ >$$ \n\n"


@pytest.mark.parametrize(
    ("feedback", "text"),
    [
        (TITLE + "Welcome!\n\n-= Attic =-\nAn attic.\n\n\n\n>", "Welcome!\n\n-= Attic =-\nAn attic."),
        ("\nYou jump.\n\n\n\nTwice.\n\n>          -= Attic =-2/4", "You jump.\n\nTwice."),
        ("A sign:\n> way out\nand more", "A sign:\n> way out\nand more"),
        ("*** The End ***", "*** The End ***"),
        ("", ""),
    ],
)
def test_titles_and_status_lines_are_cut(feedback: str, text: str) -> None:
    assert clean(feedback) == text


class Broken:
    """The package, to which no file is a game."""

    @staticmethod
    def EnvInfos(**wanted: bool) -> None:
        return None

    @staticmethod
    def start(path: str, infos: None) -> None:
        raise ValueError("not a\nstory file")


def test_a_file_that_is_no_game_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textworld, "_textworld", lambda module: Broken)
    (tmp_path / "cut.z8").write_bytes(b"")
    with pytest.raises(UserError, match=r"^env.kwargs.games: cannot play '.*cut.z8': ValueError: not a story file$"):
        TextWorld(games=str(tmp_path)).reset(seed=0)


def test_it_asks_for_worker_processes() -> None:
    assert TextWorld.slow


def names(folder: Path, split: Any) -> list[str]:
    return [path.name for path in game_files(str(folder), split)]


def test_games_are_found_by_split(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(8):
        (tmp_path / f"g{i}.z{i + 1}").touch()
        (tmp_path / f"g{i}.json").touch()
    (tmp_path / "g8.ulx").touch()
    (tmp_path / "g9.zip").touch()
    assert names(tmp_path, "eval") == ["g3.z4", "g7.z8"]
    assert names(tmp_path, "train") == ["g0.z1", "g1.z2", "g2.z3", "g4.z5", "g5.z6", "g6.z7", "g8.ulx"]
    monkeypatch.setenv("GAMES_HERE", str(tmp_path))
    assert [path.name for path in game_files("$GAMES_HERE", "eval")] == ["g3.z4", "g7.z8"]
    for split in ("train", "eval"):
        one = tmp_path / "split" / split / "deep" / f"{split}.z8"
        one.parent.mkdir(parents=True)
        one.touch()
        assert names(tmp_path / "split", split) == [f"{split}.z8"]
        assert names(one, split) == [f"{split}.z8"]
    two = tmp_path / "two"
    two.mkdir()
    for i in range(2):
        (two / f"{i}.z8").touch()
    assert (names(two, "train"), names(two, "eval")) == (["0.z8"], ["1.z8"])


def test_a_place_without_games_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match=r"no .z8 or .ulx file in"):
        game_files(str(tmp_path), "train")


@pytest.mark.parametrize(
    ("command", "blocked"),
    [("quit", True), ("q", True), ("save game", True), ("tw-print", True), ("quiet", False), ("take queen", False)],
)
def test_commands_to_the_interpreter_are_told_apart(command: str, blocked: bool) -> None:
    assert (textworld._META.match(command) is not None) == blocked


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr(optional_module.importlib, "import_module", missing)
    with pytest.raises(
        UserError, match=r"'textworld', which is not installed: pip install \"atod-sweep\[textworld\]\""
    ) as error:
        TextWorld()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"style": "loud"}, "style: unknown value 'loud'; known: compact, natural"),
        ({"suite": "chess"}, "suite: unknown value 'chess'; known: coin_collector, treasure_hunter, cooking"),
        ({"settings": {"lvl": 3}}, "settings: unknown value 'lvl'; known: level"),
        ({"train_games": 0}, "train_games: at least 1, got 0"),
        ({"horizon": 0}, "at least 1 turn, got 0"),
    ],
)
def test_bad_arguments_are_quoted(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TextWorld(**kwargs)


# ---- with it: every game takes seconds to make -------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.slow
@needs_textworld
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("suite", list(textworld.SUITES))
@pytest.mark.parametrize("mistakes", [0.0, 0.3])
def test_the_demonstrator_wins_the_suites(suite: str, mistakes: float) -> None:
    env = TextWorld(suite=suite, style="natural", train_games=1, eval_games=1)
    for seed in (0, 2**30):
        rng = random.Random(seed)
        text, info = env.reset(seed=seed)
        assert Path(info["game"]).name == ("eval0.z8" if seed else "train0.z8")
        assert "$$" not in text
        over = False
        while not over:
            safe = [action for action in env.actions() if action.startswith(("go", "look", "inventory", "examine"))]
            action = rng.choice(safe) if rng.random() < mistakes else env.demonstrator_action()
            _, reward, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        assert (reward, terminated, info["success"]) == (1.0, True, 1.0)
        assert info["metrics"] == {"score": 1.0, "valid": 1.0}
    env.close()


@pytest.mark.slow
@needs_textworld
@pytest.mark.usefixtures("cache")
def test_games_are_played_again_alike_and_also_as_files() -> None:
    env = TextWorld(suite="treasure_hunter", train_games=2, eval_games=1)
    first = env.reset(seed=1)
    walk = [env.demonstrator_action()]
    seen = env.step(walk[0])
    assert env.reset(seed=1) == first
    assert env.step(walk[0]) == seen
    assert {env.reset(seed=seed)[1]["game"] for seed in range(6)} != {first[1]["game"]}
    game = first[1]["game"]
    filed = TextWorld(games=game, horizon=2)
    assert filed.reset(seed=9) == first
    assert filed.step(walk[0]) == seen
    assert filed.step("dance")[2:4] == (False, True)
    bare = TextWorld(games=game, tracking=False)
    assert bare.reset(seed=0)[0] == first[0]
    assert bare.actions() == ["inventory", "look", "wait"]
    assert bare.step(walk[0])[:2] == seen[:2]
    with pytest.raises(UserError, match="no demonstrator for"):
        bare.demonstrator_action()


@pytest.mark.slow
@needs_textworld
@pytest.mark.usefixtures("cache")
def test_any_text_is_answered() -> None:
    env = TextWorld(suite="treasure_hunter", train_games=1, eval_games=1, horizon=100)
    env.reset(seed=0)
    texts = [
        "",
        "\x00",
        "quit",
        "save",
        "restart",
        "undo",
        "x" * 100_000,
        "привет",
        "tw-trace-actions",
        "go\nlook",
        "take",
    ]
    for text in texts:
        observation, reward, terminated, _, _ = env.step(text)
        assert observation
        assert (reward, terminated) == (0.0, False)
    env.step("look")  # answers the question "take" has left open
    while not terminated:
        _, reward, terminated, _, _ = env.step(env.demonstrator_action())
    assert reward == 1.0


@pytest.mark.slow
@needs_textworld
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("suite", list(textworld.SUITES))
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(st.characters(), max_size=300), min_size=1, max_size=8))
@example(texts=["", " ", "\x00\x1b[31m\x7f\u202e", "\ud800", "look\nquit\n", "(" * 150])
@example(texts=["a" * 100_000, "look " * 20_000])
@example(texts=["take", "take", "go", "1", "y", "the", "get all except", "quit quit", "look. quit. y"])
def test_random_text_is_answered(suite: str, texts: list[str]) -> None:
    env = TextWorld(suite=suite, train_games=1, eval_games=1, horizon=20)
    try:
        check_answers(env, texts, longest=5000)
    finally:
        env.close()


@pytest.mark.slow
@needs_textworld
@pytest.mark.usefixtures("cache")
def test_it_is_a_gymnasium_environment() -> None:
    check_env(TextWorld(suite="treasure_hunter", train_games=1, eval_games=1), skip_render_check=True)


@needs_textworld
def test_glulx_games_need_an_older_textworld(tmp_path) -> None:
    (tmp_path / "old.ulx").touch()
    with pytest.raises(UserError, match=r"old\.ulx"):
        TextWorld(games=str(tmp_path / "old.ulx")).reset(seed=0)


@needs_textworld
def test_card() -> None:
    assert "Demonstrator" in TextWorld().card()
