"""ALFWorld-format games made from the installed wheel."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import random
from collections import Counter
from typing import Any

import pytest
from alfworld_games import solve, write_games
from alfworld_plays import digest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from atod_sweep.config.train import Env
from atod_sweep.envs.benchmarks.alfworld import AlfWorld, files, generate, problem, wheel
from atod_sweep.envs.benchmarks.alfworld.engine import Engine
from atod_sweep.envs.benchmarks.alfworld.game import check_rules, load, own_grammar, prepare
from atod_sweep.envs.benchmarks.alfworld.wheel import TASKS
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.envs.families.game import read_action
from atod_sweep.errors import UserError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("alfworld") is None, reason="needs the alfworld wheel: pip install --no-deps alfworld"
)

SMALL = generate.Size(6, (6, 8))


def play(env: AlfWorld, seed: int, mistakes: float = 0.0) -> tuple[list[str], dict[str, object]]:
    """Actions and the last info of an episode by the demonstrator, with random admissible commands among its own."""
    rng = random.Random(seed)
    env.reset(seed=seed)
    actions, over, info = [], False, {}
    while not over:
        actions.append(rng.choice(env.actions()) if rng.random() < mistakes else env.demonstrator_action())
        _, _, terminated, truncated, info = env.step(actions[-1])
        over = terminated or truncated
    return actions, info


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.parametrize("size", [SMALL, generate.Size()], ids=["small", "full"])
@pytest.mark.parametrize("task", wheel.TASKS)
def test_generated_games_are_solvable_and_unsolved_at_the_start(task: str, size: generate.Size, split: str) -> None:
    for seed in range(8):
        drawn = generate.draw(random.Random(seed), split, size, (task,))
        game = prepare(drawn, own_grammar().with_task(drawn.goal.sentences()[0]))
        assert not Engine(game).won
        assert 2 <= len(solve(game)) <= 14
        assert drawn.goal.task == task


def test_a_game_survives_its_file() -> None:
    for seed in range(20):
        drawn = generate.draw(random.Random(seed), "train", SMALL)
        assert problem.read(problem.write(drawn)) == drawn


def test_splits_play_in_different_floor_plans_and_tasks_come_equally_often() -> None:
    plans: dict[str, set[str]] = {"train": set(), "eval": set()}
    tasks: Counter[str] = Counter()
    for split, seen in plans.items():
        for seed in range(300):
            drawn = generate.draw(random.Random(seed), split, SMALL)
            seen.add(drawn.name.split("_")[1])
            tasks[drawn.goal.task] += 1
    assert not plans["train"] & plans["eval"]
    assert len(plans["train"]) > 60
    assert all(60 < tasks[task] < 140 for task in wheel.TASKS)  # 100 expected


def test_the_size_knob_bounds_the_room() -> None:
    for seed in range(50):
        drawn = generate.draw(random.Random(seed), "train", SMALL)
        kinds = Counter(kind for _, kind in drawn.declared)
        assert kinds["receptacle"] <= 6
        assert kinds["object"] <= 8 + 1  # the lamp comes on top
    with pytest.raises(UserError, match="no room with 1 receptacles"):
        generate.draw(random.Random(0), "train", generate.Size(1, (2, 2)))


def test_own_poses_are_all_different_and_shared_ones_are_not() -> None:
    def poses(share: bool) -> list[str]:
        size = generate.Size(share_poses=share)
        drawn = [generate.draw(random.Random(seed), "train", size) for seed in range(30)]
        return [f"{d.name} {fact[2]}" for d in drawn for fact in d.facts if fact[0] == "receptacleAtLocation"]

    assert len(set(poses(False))) == len(poses(False))
    assert len(set(poses(True))) < len(poses(True))


@pytest.mark.parametrize(("demonstrator", "longest"), [("searching", 40), ("knowing", 14)])
def test_the_demonstrator_wins(demonstrator: str, longest: int) -> None:
    env = AlfWorld(demonstrator=demonstrator)
    for seed in range(30):
        actions, info = play(env, seed)
        assert info["success"] == 1.0, seed
        assert info["metrics"] == {"valid": 1.0}
        assert len(actions) <= longest


@pytest.mark.parametrize("demonstrator", ["searching", "knowing"])
def test_the_demonstrator_wins_after_mistakes(demonstrator: str) -> None:
    env = AlfWorld(horizon=200, receptacles=8, demonstrator=demonstrator)
    assert all(play(env, seed, mistakes=0.4)[1]["success"] == 1.0 for seed in range(40))


def test_the_searching_demonstrator_cannot_see_through_doors() -> None:
    """Moving an object that was never shown does not change what it does."""
    env = AlfWorld(receptacles=8, tasks=["pick_and_place_simple"])
    moved = 0
    for seed in range(40):
        env.reset(seed=seed)
        engine = env._player._engine
        before = env.demonstrator_action()
        inside = engine.facts["inreceptacle"]
        wanted = next(o for o, _ in inside if engine.is_wanted(o))
        for receptacle in engine.game.place:
            engine.facts["inreceptacle"] = sorted((o, receptacle if o == wanted else r) for o, r in inside)
            assert env.demonstrator_action() == before
            moved += 1
    assert moved > 100


@pytest.mark.parametrize("style", ["compact", "natural"])
@pytest.mark.parametrize("commands", [False, True])
def test_every_word_is_in_the_vocabulary(style: str, commands: bool) -> None:
    env = AlfWorld(style=style, commands=commands)
    known = set(env.vocabulary())
    for seed in (*range(25), *range(EVAL_SEEDS.start, EVAL_SEEDS.start + 25)):
        rng = random.Random(seed)
        text, _ = env.reset(seed=seed)
        for _ in range(25):
            action = rng.choice(env.actions()) if rng.random() < 0.6 else env.demonstrator_action()
            said = set(text.split()) | set(action.split())
            assert said <= known, said - known
            text, _, terminated, _, _ = env.step(action)
            if terminated:
                break
    text, *_ = (env.reset(seed=1), env.step("help"))[1]
    assert set(text.split()) <= known


def test_the_same_seed_is_the_same_game_and_groups_do_not_disturb_each_other() -> None:
    one, other = AlfWorld(receptacles=6), AlfWorld(receptacles=6)
    start = one.reset(seed=3)
    other.reset(seed=4)
    other.reset(seed=3)
    other.step(other.demonstrator_action())
    assert one.reset(seed=3) == start
    assert other.reset(seed=3) == start
    assert one.reset(seed=5) != start
    assert one.reset(seed=3, options={"split": "eval"})[1] != start[1]


def test_an_episode_ends_at_the_horizon_without_success() -> None:
    env = AlfWorld(horizon=3)
    env.reset(seed=0)
    ends = [env.step(action) for action in ("look", "fly away", "look")]
    assert [(reward, terminated, truncated) for _, reward, terminated, truncated, _ in ends] == [
        (0.0, False, False),
        (0.0, False, False),
        (0.0, False, True),
    ]
    metrics = {"valid": pytest.approx(2 / 3)}
    assert ends[-1][4] == {"is_admissible": True, "success": 0.0, "metrics": metrics}


def test_actions_are_the_admissible_commands_of_the_moment() -> None:
    env = AlfWorld()
    assert env.actions() == ["help", "inventory", "look"]
    env.reset(seed=0)
    before = env.actions()
    env.step(next(action for action in before if action.startswith("go to")))
    assert any(action.startswith("examine") for action in env.actions())
    assert not any(action.startswith("examine") for action in before)


def test_it_is_a_gymnasium_environment() -> None:
    check_env(AlfWorld(receptacles=6), skip_render_check=True)


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=300) | st.sampled_from(["", "\x00\x1b[2J", "go to " * 20_000, "{r.name}", "take  from"]))
def test_any_text_is_answered(text: str) -> None:
    env = AlfWorld(receptacles=6)
    env.reset(seed=0)
    admissible = read_action(text) in env.actions()  # "help", for one
    observation, reward, terminated, _, _ = env.step(text)
    assert (observation != "nothing happens") == admissible
    assert (reward, terminated) == (0.0, False)


def test_official_game_files_are_played_by_split_and_task(tmp_path) -> None:
    size = generate.Size(8, (8, 10))
    paths = {split: write_games(tmp_path, split, 8, size) for split in ("train", "eval")}
    env = AlfWorld(games=str(tmp_path), style="natural")
    for seed in range(6):
        text, info = env.reset(seed=seed)
        assert info["game"] in map(str, paths["train"])
        assert load(next(p for p in paths["train"] if str(p) == info["game"])).grammar.task in text
        assert play(env, seed)[1]["success"] == 1.0
        assert env.reset(seed=seed, options={"split": "eval"})[1]["game"] in map(str, paths["eval"])
    task = files._task_of(paths["train"][0])
    some = AlfWorld(games=str(tmp_path), tasks=[task])
    assert all(task in some.reset(seed=seed)[1]["game"] for seed in range(6))


# What becomes of a game file -> what is said of it; None: it is played.
GAME_FILES: dict[str, tuple[Any, str | None]] = {
    "solvable": (lambda data: data, None),
    "solvable by another word": (lambda data: {**data, "solvable": 1}, None),
    "unsolvable": (lambda data: {**data, "solvable": False}, "marked as unsolvable"),
    "null": (lambda data: {**data, "solvable": None}, "marked as unsolvable"),
    "unmarked": (lambda data: {k: v for k, v in data.items() if k != "solvable"}, "not marked as solvable"),
    "no problem": (lambda data: {k: v for k, v in data.items() if k != "pddl_problem"}, "pddl_problem missing"),
    "grammar null": (lambda data: {**data, "grammar": None}, "grammar None"),
    "a list": (lambda data: [1], "holds [1]"),
    "empty": (lambda data: b"", "is empty; fetch it again"),
    "cut": (lambda data: json.dumps(data).encode()[:-20], "is no JSON"),
    "not text": (lambda data: b"\xff\xfe", "cannot be read: 'utf-8' codec"),
    "problem cut": (lambda data: {**data, "pddl_problem": data["pddl_problem"][:999]}, "cut off after 999 characters"),
    "problem blank": (lambda data: {**data, "pddl_problem": " "}, "pddl_problem is cut off after 1 characters"),
    "byte order mark": (lambda data: json.dumps(data).encode("utf-8-sig"), None),
}


@pytest.mark.parametrize("case", GAME_FILES)
def test_games_that_the_official_loader_leaves_out_are_left_out_and_named(tmp_path, case) -> None:
    change, said = GAME_FILES[case]
    odd, *others = write_games(tmp_path, "train", 3, generate.Size(6, (6, 8)))
    data = change(json.loads(odd.read_text()))
    odd.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    played = files.game_files(str(tmp_path), "train", TASKS)
    env = AlfWorld(games=str(tmp_path))
    if said is None:
        assert set(played) == {odd, *others}
        assert env.remarks() == []
        assert {env.reset(seed=seed)[1]["game"] for seed in range(40)} == {str(path) for path in (odd, *others)}
    else:
        assert set(played) == set(others)
        (line,) = env.remarks()
        named = f"{odd.parent.parent.name}/{odd.parent.name}"
        assert line.startswith(f"{tmp_path / 'train'}: 1 of 3 games left out ({named}: ")
        assert said in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "lacks the action 'cleanobject'"),
        (lambda text: text[: len(text) // 2], "lacks the "),
        (lambda text: text.replace('"look.feedback"', '"other"'), "lacks the rule 'look.feedback'"),
        (lambda text: text.replace('"list_empty"', '"other"'), "lacks the rule 'list_empty'"),
    ],
)
def test_a_game_without_all_its_words_is_named(tmp_path, change, said: str) -> None:
    (path,) = write_games(tmp_path, "train", 1, generate.Size(6, (6, 8)))
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "grammar": change(data["grammar"])}))
    with pytest.raises(UserError, match=rf"^cannot play '.*game.tw-pddl': ALFWorld grammar: {said}"):
        AlfWorld(games=str(tmp_path)).reset(seed=0)


def test_a_folder_of_unsolvable_games_says_so(tmp_path) -> None:
    for path in write_games(tmp_path, "train", 2, generate.Size(6, (6, 8))):
        path.write_text(json.dumps({**json.loads(path.read_text()), "solvable": False}))
    with pytest.raises(UserError, match=r"no game.tw-pddl of the tasks .*2 of 2 games left out .*marked as unsolvable"):
        AlfWorld(games=str(tmp_path)).reset(seed=0)


def test_a_task_is_told_by_its_trajectory_where_the_folder_does_not_tell(tmp_path) -> None:
    (path,) = write_games(tmp_path, "train", 1, generate.Size(6, (6, 8)))
    task = files._task_of(path)
    path.parent.parent.rename(tmp_path / "train" / "mine")
    (found,) = files.game_files(str(tmp_path), "train", (task,))
    assert found.parts[-3] == "mine"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "at least 1 turn, got 0"),
        ({"style": "loud"}, "style: unknown value 'loud'; known: compact, natural"),
        ({"tasks": ["fly"]}, "tasks: unknown value 'fly'; known: pick_and_place_simple"),
        ({"receptacles": 1}, "receptacles: at least 2, got 1"),
        ({"engine": "warp"}, "engine: unknown value 'warp'; known: fast, official"),
        ({"demonstrator": "lazy"}, "demonstrator: unknown value 'lazy'; known: searching, knowing"),
    ],
)
def test_bad_arguments_are_quoted(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AlfWorld(**kwargs)


def test_a_folder_without_games_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match=r"no game.tw-pddl of the tasks .* below"):
        AlfWorld(games=str(tmp_path)).reset(seed=0)


def test_plays_are_those_that_the_official_environment_confirmed() -> None:
    """The first 96 of the 516 games that test_alfworld_official played side by side without a difference."""
    if importlib.metadata.version("alfworld") != "0.4.2":
        pytest.skip("recorded with the files of alfworld 0.4.2")
    assert digest(96) == "180f380e54a28edf280b43582197b1c427a72031bb93ef8e446ecd5323dcc88b"


def test_another_version_of_the_rules_is_refused() -> None:
    check_rules(wheel.domain() + "\n; a comment changes nothing\n")
    with pytest.raises(UserError, match="engine: official"):
        check_rules(wheel.domain().replace("(not (holdsAny ?a))", ""))


def test_card() -> None:
    assert "ALFWorld-format games" in AlfWorld().card()
    assert Env(id="alfworld").horizon == 8
