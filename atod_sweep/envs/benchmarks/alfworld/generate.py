"""ALFWorld-format games, made from the wheel's floor plans and affordances: no download, no simulator.

A game is a room of ALFRED's own split (train: 96 floor plans, eval: 24 others), its receptacles where the floor plan
has them, objects of the room's types placed at random where they may lie, and one of the six tasks. Placements and
object counts are ours, not ALFRED's, so scores on these games are not comparable with published ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from atod_sweep.envs.benchmarks.alfworld import wheel
from atod_sweep.envs.benchmarks.alfworld.problem import Fact, Goal, Problem, mangle
from atod_sweep.envs.benchmarks.alfworld.wheel import TASKS, FloorPlan, Pose
from atod_sweep.envs.contract import Split
from atod_sweep.errors import UserError

# Fixed receptacles that some floor plans name without giving them a pose, and how many such a room gets.
_WITHOUT_POSE = {
    "StoveBurner": 4,
    "CoffeeMachine": 1,
    "Toaster": 1,
    "GarbageCan": 1,
    "HandTowelHolder": 1,
    "ToiletPaperHanger": 1,
    "TowelHolder": 1,
    "LaundryHamper": 1,
    "Toilet": 1,
    "Shelf": 2,
    "Dresser": 1,
    "Desk": 1,
}
_TOOLS = {"clean": ("Cleanable", "SinkBasin"), "heat": ("Heatable", "Microwave"), "cool": ("Coolable", "Fridge")}
# The affordance tables say nothing of lamps. Floor lamps stand in no receptacle, so they cannot be switched on.
_LAMP = "DeskLamp"
_LAMP_STANDS_ON = ("Desk", "SideTable", "Dresser", "Shelf", "DiningTable", "CoffeeTable")
_START: Pose = (999, 999, 0, 30)  # at no receptacle
_MOST_DRAWS = 1000


@dataclass(frozen=True)
class Size:
    """`receptacles`: at most so many in a room (None: all of the floor plan's); `objects`: least and most drawn.

    `share_poses`: neighbours stand at one pose where the floor plan says so; otherwise each gets its own.
    """

    receptacles: int | None = None
    objects: tuple[int, int] = (18, 32)
    share_poses: bool = True


class _UnsuitableError(Exception):
    """This room cannot host this task."""


@dataclass(frozen=True)
class _Room:
    """`receptacles`: name -> pose; `by_type`: receptacle type -> names; `homes`: object type -> receptacle types."""

    receptacles: dict[str, Pose]
    by_type: dict[str, list[str]]
    homes: dict[str, list[str]]


@dataclass(frozen=True)
class _Thing:
    name: str
    kind: str
    receptacle: str


def draw(rng: random.Random, split: Split, size: Size, tasks: tuple[str, ...] = TASKS) -> Problem:
    """A game of a split. Raises UserError if no room of that size hosts any of the tasks."""
    task = rng.choice(tasks)
    for _ in range(_MOST_DRAWS):
        plan = wheel.floor_plan(rng.choice(wheel.plans(task, split)))
        try:
            room = _room(plan, task, size, rng)
            goal = _goal(plan, room, task, rng)
            things = _things(room, goal, size, rng)
        except _UnsuitableError:
            continue
        return _problem(f"plan_{plan.number}_{rng.randrange(10**9):09d}", room, goal, things)
    raise UserError(f"env.kwargs: no room with {size.receptacles} receptacles hosts {task!r}; allow more of them")


def _room(plan: FloorPlan, task: str, size: Size, rng: random.Random) -> _Room:
    receptacles = dict(plan.receptacles)
    present = {wheel.receptacle_type(name) for name in receptacles}
    for kind, count in _WITHOUT_POSE.items():
        if kind in plan.types and kind not in present:
            for i in range(count):
                x, z = rng.uniform(-4, 4), rng.uniform(-4, 4)
                receptacles[_name(kind, x, 0.9, z)] = (round(x * 4) + 40 + i, round(z * 4) + 40, i % 4, 30)
    if not size.share_poses:
        receptacles = _spread(receptacles)
    if size.receptacles is not None:
        receptacles = _fewer(receptacles, task, size.receptacles, rng)
    by_type: dict[str, list[str]] = defaultdict(list)
    for name in sorted(receptacles):
        by_type[wheel.receptacle_type(name)].append(name)
    tables = wheel.affordances()
    homes: dict[str, list[str]] = defaultdict(list)
    for kind in sorted(by_type):
        for thing in sorted(tables.holds.get(kind, frozenset()) & plan.types - tables.receptacles):
            homes[thing].append(kind)
    if _LAMP in plan.types:
        homes[_LAMP] = [kind for kind in _LAMP_STANDS_ON if kind in by_type]
    return _Room(receptacles, by_type, homes)


def _name(kind: str, x: float, y: float, z: float) -> str:
    return f"{kind}|{x:+06.2f}|{y:+06.2f}|{z:+06.2f}"


def _spread(receptacles: dict[str, Pose]) -> dict[str, Pose]:
    """Every receptacle at a pose of its own."""
    spread: dict[str, Pose] = {}
    taken: set[Pose] = set()
    for name in sorted(receptacles):
        x, z, heading, tilt = receptacles[name]
        while (x, z, heading, tilt) in taken:
            z += 1
        taken.add((x, z, heading, tilt))
        spread[name] = (x, z, heading, tilt)
    return spread


def _fewer(receptacles: dict[str, Pose], task: str, most: int, rng: random.Random) -> dict[str, Pose]:
    """At most so many, among them the one that the task's tool is."""
    tool = _tool(task)[1]
    names = sorted(receptacles)
    rng.shuffle(names)
    names.sort(key=lambda name: wheel.receptacle_type(name) != tool)
    return {name: receptacles[name] for name in names[:most]}


def _tool(task: str) -> tuple[str, str]:
    """(affordance, receptacle type) that a task needs, or ("", "")."""
    return _TOOLS.get(task.split("_")[1], ("", ""))


def _goal(plan: FloorPlan, room: _Room, task: str, rng: random.Random) -> Goal:
    affordance, tool = _tool(task)
    if tool and tool not in room.by_type:
        raise _UnsuitableError
    if task == "look_at_obj_in_light":
        if not room.homes.get(_LAMP) or len(room.homes) == 1:
            raise _UnsuitableError
        return Goal(task, rng.choice(sorted(room.homes.keys() - {_LAMP})), "", _LAMP)
    able = wheel.affordances().actions[affordance] if affordance else room.homes.keys() - {_LAMP}
    # The object must be able to start somewhere else, and its tool is no place to leave it.
    targets = {
        thing: [kind for kind in kinds if kind != tool]
        for thing, kinds in sorted(room.homes.items())
        if thing in able and len(kinds) > 1
    }
    targets = {thing: kinds for thing, kinds in targets.items() if kinds}
    if not targets:
        raise _UnsuitableError
    thing = rng.choice(list(targets))
    return Goal(task, thing, rng.choice(targets[thing]), "")


def _things(room: _Room, goal: Goal, size: Size, rng: random.Random) -> list[_Thing]:
    """The goal's objects, then one of each other type in random order, then duplicates, up to the drawn number."""
    most = wheel.affordances().most_instances
    total = rng.randint(*size.objects)
    kinds = [goal.object] * rng.randint(goal.count, most)
    others = sorted(kind for kind in room.homes if room.homes[kind] and kind not in (goal.object, goal.lamp))
    rng.shuffle(others)
    spare = others * (most - 1)
    rng.shuffle(spare)
    kinds += (others + spare)[: max(0, total - len(kinds))]
    if goal.lamp:
        kinds.append(goal.lamp)
    homes = {kind: room.homes[kind] for kind in kinds}
    homes[goal.object] = [kind for kind in homes[goal.object] if kind != goal.receptacle]
    things: dict[str, _Thing] = {}
    for kind in kinds:
        name = _name(kind, rng.uniform(-4, 4), rng.uniform(0, 2), rng.uniform(-4, 4))
        # Types first, so that 20 cabinets do not swallow everything.
        things[name] = _Thing(name, kind, rng.choice(room.by_type[rng.choice(homes[kind])]))
    return [things[name] for name in sorted(things)]


def _problem(name: str, room: _Room, goal: Goal, things: list[_Thing]) -> Problem:
    tables = wheel.affordances()
    kinds = sorted({thing.kind for thing in things})
    ids = {receptacle: mangle(receptacle) for receptacle in sorted(room.receptacles)}
    places = {receptacle: mangle("loc|{}|{}|{}|{}".format(*pose)) for receptacle, pose in room.receptacles.items()}
    start = mangle("loc|{}|{}|{}|{}".format(*_START))
    facts: list[Fact] = [("atLocation", "agent1", start)]
    for kind, receptacles in room.by_type.items():
        for receptacle in receptacles:
            facts.append(("receptacleType", ids[receptacle], f"{kind}Type"))
            facts.append(("receptacleAtLocation", ids[receptacle], places[receptacle]))
            if kind in tables.openable:
                facts.append(("openable", ids[receptacle]))
        facts += [("canContain", f"{kind}Type", f"{each}Type") for each in kinds if kind in room.homes.get(each, ())]
    declared = [("agent1", "agent"), *((receptacle, "receptacle") for receptacle in ids.values())]
    for thing in things:
        thing_id = mangle(thing.name)
        declared.append((thing_id, "object"))
        facts.append(("objectType", thing_id, f"{thing.kind}Type"))
        facts.append(("inReceptacle", thing_id, ids[thing.receptacle]))
        facts.append(("objectAtLocation", thing_id, places[thing.receptacle]))
        if thing.kind not in tables.actions["Toggleable"]:
            facts.append(("pickupable", thing_id))
        if thing.kind in tables.movable_receptacles:
            facts.append(("isReceptacleObject", thing_id))
        facts += [(name.lower(), thing_id) for name, able in tables.actions.items() if thing.kind in able]
    declared += [(place, "location") for place in sorted({*places.values(), start})]
    declared += [(f"{kind}Type", "otype") for kind in kinds] + [(f"{kind}Type", "rtype") for kind in room.by_type]
    return Problem(name, tuple(declared), tuple(facts), goal)
