"""Our ALFWorld engine against the official environment, command by command.

ATOD_SWEEP_ALFWORLD_GAMES sets the number of games (default 16, about a minute); a game in a large room takes seconds,
because the official environment plays 5 to 35 steps a second.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from atod_sweep.envs.alfworld import AlfWorld, files, generate, wheel
from atod_sweep.envs.alfworld.engine import Engine
from atod_sweep.envs.alfworld.expert import Expert
from atod_sweep.envs.alfworld.game import load, own_grammar, prepare
from atod_sweep.envs.alfworld.players import Deal, Official
from atod_sweep.envs.alfworld.problem import Problem
from atod_sweep.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
pytest.importorskip("alfworld", reason="needs the official environment: pip install alfworld")
pytest.importorskip("fast_downward", reason="needs the official environment: pip install alfworld")

GAMES = int(os.environ.get("ATOD_SWEEP_ALFWORLD_GAMES", "16"))
STEPS = 40
SIZES = (generate.Size(6, (8, 12)), generate.Size(10, (10, 16)), generate.Size(16, (16, 20)), generate.Size())
Play = Callable[[Engine, random.Random], Iterator[str]]
JUNK = ("", "dance", "go to", "take 1 from 2", "look around", "examine", "open open", "go to the moon 1")


# ---- games -------------------------------------------------------------------------------------------------------


def crowded(problem: Problem, rng: random.Random) -> Problem:
    """All receptacles of a type at one pose."""
    kind = {fact[1]: fact[2] for fact in problem.facts if fact[0] == "receptacleType"}
    pose = {fact[1]: fact[2] for fact in problem.facts if fact[0] == "receptacleAtLocation"}
    shared = {pose[r]: pose[min(s for s in pose if kind[s] == kind[r])] for r in pose}
    return replace(problem, facts=tuple(tuple(shared.get(name, name) for name in fact) for fact in problem.facts))


def odd(problem: Problem, rng: random.Random) -> Problem:
    """Doors open at the start, objects whose own pose is not their receptacle's, things in bowls, a floor."""
    places = [fact[2] for fact in problem.facts if fact[0] == "receptacleAtLocation"]
    objects = [fact[1] for fact in problem.facts if fact[0] == "objectType"]
    bowls = [fact[1] for fact in problem.facts if fact[0] == "isReceptacleObject"]
    facts = []
    for fact in problem.facts:
        if fact[0] == "objectAtLocation" and rng.random() < 0.4:
            fact = (*fact[:2], rng.choice(places))
        needed = fact[1].split("_bar_")[0] in (
            problem.goal.object,
            problem.goal.lamp,
        )  # the planner refuses lost causes
        if fact[0] == "inReceptacle" and rng.random() < 0.1 and not needed:
            continue  # it lies on the floor
        facts.append(fact)
        if fact[0] == "openable" and rng.random() < 0.5:
            facts.append(("opened", fact[1]))
    facts += [("inReceptacleObject", rng.choice(objects), bowl) for bowl in bowls for _ in range(rng.randint(0, 2))]
    return replace(problem, facts=tuple(facts))


def games(count: int) -> Iterator[tuple[str, Problem, Play, random.Random]]:
    """Rooms of four sizes; poses shared as in the floor plan, each receptacle its own, one per type, or odd facts."""
    for i in range(count):
        rng = random.Random(f"official {i}")
        kind = ("as is", "own poses", "crowded", "odd")[i % 4]
        play = (cook, solve, wander)[i // 4 % 3]
        size = replace(SIZES[i // 12 % 4], share_poses=kind != "own poses")
        tasks = wheel.TASKS if play is not cook else ("pick_heat_then_place_in_recep", "pick_cool_then_place_in_recep")
        problem = generate.draw(rng, rng.choice(["train", "eval"]), size, tasks)
        change = {"crowded": crowded, "odd": odd}.get(kind)
        yield kind, change(problem, rng) if change else problem, play, rng


# ---- ways to play ------------------------------------------------------------------------------------------------


def wander(engine: Engine, rng: random.Random) -> Iterator[str]:
    """Anything admissible, doing rather than going."""
    while True:
        commands = sorted(engine.commands())
        deeds = [c for c in commands if not c.startswith(("go to", "help", "look"))]
        yield rng.choice(deeds if deeds and rng.random() < 0.65 else commands)


def solve(engine: Engine, rng: random.Random) -> Iterator[str]:
    """The expert, disturbed."""
    expert = Expert(engine, knowing=True)
    anything = wander(engine, rng)
    while True:
        yield expert.command() if rng.random() < 0.8 else next(anything)


def cook(engine: Engine, rng: random.Random) -> Iterator[str]:
    """Slice something, then hold, clean, heat and cool it and look at it each time."""
    game = engine.game
    knives = [o for o, kind in game.kind.items() if kind in ("knifetype", "butterknifetype")]
    inside = dict(engine.facts["inreceptacle"])
    food = [o for o in engine.sliceable if o in inside]
    if knives and food and knives[0] in inside:
        knife, thing = knives[0], rng.choice(food)
        yield from reach(engine, inside[knife])
        yield engine.text("pickupobject", {"o": knife, "r": inside[knife]})
        yield from reach(engine, inside[thing])
        yield engine.text("sliceobject", {"co": thing, "ko": knife})
        yield next((c for c in engine.commands() if c.startswith("move")), "look")
        if engine.held is None:
            yield from reach(engine, inside[thing])
            yield engine.text("pickupobject", {"o": thing, "r": inside[thing]})
            tools = [r for r in game.place if game.kind[r] in ("sinkbasintype", "microwavetype", "fridgetype")]
            for tool in rng.sample(tools, len(tools)):
                yield from reach(engine, tool)
                yield engine.text("examineobject", {"o": thing})
                yield next((c for c in engine.commands() if c.startswith(("clean", "heat", "cool"))), "inventory")
                yield engine.text("examineobject", {"o": thing})
    yield from wander(engine, rng)


def reach(engine: Engine, receptacle: int) -> Iterator[str]:
    place = engine.game.place[receptacle]
    if engine.location != place:
        yield engine.text("gotolocation", {"r": receptacle, "lend": place})
    if not engine.accessible(receptacle):
        yield engine.text("openobject", {"r": receptacle})


# ---- the comparison ----------------------------------------------------------------------------------------------


def test_every_observation_command_and_win_equals_the_official_environments() -> None:
    official = Official(knowing=True)
    seen: Counter[str] = Counter()
    for kind, problem, play, rng in games(GAMES):
        sentence = rng.choice(problem.goal.sentences())
        game = prepare(problem, own_grammar().with_task(sentence))
        engine = Engine(game)
        first = official.start(Deal("", lambda game=game: game, partial(files.game_data, problem, sentence)))
        assert engine.reset() == first
        moves = play(engine, rng)
        for _ in range(STEPS):
            assert sorted(engine.commands()) == official.commands()
            command = next(moves) if rng.random() > 0.03 else rng.choice(JUNK)
            reply = engine.step(command)
            assert (command, reply.text, reply.won) == (command, *official.step(command))
            seen.update({"steps": 1, kind: 1, command.split(" ")[0] if reply.action else "junk": 1, "won": reply.won})
            if reply.won:
                break
    print(f"\n{GAMES} games: {dict(seen)}")
    assert seen["won"] > 0
    assert seen["slice"] > 0


def test_a_written_game_is_solved_by_its_walkthrough_in_the_official_environment(tmp_path) -> None:
    size = generate.Size(8, (8, 10))
    for path in files.write_games(tmp_path, "train", 3, size):
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
    files.write_games(tmp_path, "train", 2, generate.Size(6, (6, 8)))
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
    (path,) = files.write_games(tmp_path, "train", 1, generate.Size(6, (6, 8)))
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
