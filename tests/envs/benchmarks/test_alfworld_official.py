"""Our ALFWorld engine against the official environment, command by command.

ATOD_SWEEP_ALFWORLD_GAMES sets the number of games (16 at least and by default, a minute or two); a game in a large room
takes seconds, because the official environment plays 5 to 35 steps a second.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import partial

import pytest
from alfworld_games import write_games
from alfworld_plays import commands, games

from atod_sweep.envs.benchmarks.alfworld import AlfWorld, files, generate
from atod_sweep.envs.benchmarks.alfworld.engine import Engine
from atod_sweep.envs.benchmarks.alfworld.game import load, own_grammar, prepare
from atod_sweep.envs.benchmarks.alfworld.players import Deal, Official
from atod_sweep.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
pytest.importorskip("alfworld", reason="needs the official environment: pip install alfworld")
pytest.importorskip("fast_downward", reason="needs the official environment: pip install alfworld")

GAMES = int(os.environ.get("ATOD_SWEEP_ALFWORLD_GAMES", "16"))


def test_every_observation_command_and_win_equals_the_official_environments() -> None:
    official = Official(knowing=True)
    seen: Counter[str] = Counter()
    for kind, problem, play, rng in games(GAMES):
        sentence = rng.choice(problem.goal.sentences())
        game = prepare(problem, own_grammar().with_task(sentence))
        engine = Engine(game)
        first = official.start(Deal("", lambda game=game: game, partial(files.game_data, problem, sentence)))
        assert engine.reset() == first
        for command in commands(play(engine, rng), rng):
            assert sorted(engine.commands()) == official.commands()
            reply = engine.step(command)
            assert (command, reply.text, reply.won) == (command, *official.step(command))
            seen.update({"steps": 1, kind: 1, command.split(" ")[0] if reply.action else "junk": 1, "won": reply.won})
            if reply.won:
                break
    print(f"\n{GAMES} games: {dict(seen)}")
    assert seen["won"] > 0
    assert seen["slice"] > 0


def test_only_the_official_engine_asks_for_worker_processes() -> None:
    assert AlfWorld(engine="official").slow
    assert not AlfWorld().slow


def test_a_written_game_is_solved_by_its_walkthrough_in_the_official_environment(tmp_path) -> None:
    size = generate.Size(8, (8, 10))
    for path in write_games(tmp_path, "train", 3, size):
        data = load(path)
        official = Official(knowing=True)
        official._env.load(str(path))
        official._env.reset()
        won = False
        for command in official._env.unwrapped.walkthrough:
            assert not won
            _, _, won = official._env.step(command)
        assert won, data.grammar.task


def test_the_environment_plays_official_files_through_the_official_environment(tmp_path) -> None:
    write_games(tmp_path, "train", 2, generate.Size(6, (6, 8)))
    fast, official = (AlfWorld(games=str(tmp_path), style="natural", engine=engine) for engine in ("fast", "official"))
    for seed in range(2):
        assert fast.reset(seed=seed) == official.reset(seed=seed)
        over = False
        while not over:
            assert fast.actions() == official.actions()
            action = official.demonstrator_action()
            assert action == fast.demonstrator_action()
            answer = official.step(action)
            assert fast.step(action) == answer
            over = answer[2] or answer[3]
        assert answer[4]["success"] == 1.0


def test_games_by_other_rules_are_left_to_the_official_environment(tmp_path) -> None:
    (path,) = write_games(tmp_path, "train", 1, generate.Size(6, (6, 8)))
    data = json.loads(path.read_text())
    data["pddl_domain"] = data["pddl_domain"].replace("(:predicates", "(:predicates (new ?o - object)")
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="engine: official"):
        AlfWorld(games=str(tmp_path)).reset(seed=0)
    env = AlfWorld(games=str(tmp_path), engine="official")
    env.reset(seed=0)
    assert "look" in env.actions()
    assert env.step("look")[0] == "you are in the middle of a room looking quickly around you you see nothing"
    with pytest.raises(UserError, match="no demonstrator for this game"):
        env.demonstrator_action()
