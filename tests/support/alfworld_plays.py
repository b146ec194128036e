"""Games and ways to play them, on which our ALFWorld engine is compared with the official environment."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from atod_sweep.envs.benchmarks.alfworld import generate, wheel
from atod_sweep.envs.benchmarks.alfworld.engine import Engine
from atod_sweep.envs.benchmarks.alfworld.expert import Expert
from atod_sweep.envs.benchmarks.alfworld.files import game_data
from atod_sweep.envs.benchmarks.alfworld.game import own_grammar, prepare
from atod_sweep.envs.benchmarks.alfworld.problem import Problem

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


# ---- what is compared --------------------------------------------------------------------------------------------


def commands(moves: Iterator[str], rng: random.Random) -> Iterator[str]:
    """A play with a little junk in it."""
    for _ in range(STEPS):
        yield next(moves) if rng.random() > 0.03 else rng.choice(JUNK)


def digest(count: int) -> str:
    """SHA-256 of the first games' files and of every observation, command list and win in their plays."""
    told = hashlib.sha256()
    for _, problem, play, rng in games(count):
        sentence = rng.choice(problem.goal.sentences())
        engine = Engine(prepare(problem, own_grammar().with_task(sentence)))
        told.update(f"{game_data(problem, sentence)}{engine.reset()}".encode())
        for command in commands(play(engine, rng), rng):
            told.update(f"{sorted(engine.commands())}{command}".encode())
            reply = engine.step(command)
            told.update(f"{reply.text}{reply.won}".encode())
            if reply.won:
                break
    return told.hexdigest()
