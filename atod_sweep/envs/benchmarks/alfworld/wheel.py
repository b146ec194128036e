"""What the installed `alfworld` wheel says: rules, wording, floor plans, which object goes where. None of it is copied.

The files are read from their places; the package itself is not imported, because that creates `~/.cache/alfworld`.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from atod_sweep.envs.contract import Split
from atod_sweep.errors import UserError

TASKS = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)

Pose = tuple[int, int, int, int]  # x and z in quarter metres, heading in quarter turns, camera tilt in degrees


@cache
def folder() -> Path:
    """The wheel's folder. Raises UserError with the command that installs it."""
    spec = importlib.util.find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "env.id: 'alfworld' reads the files of the alfworld wheel, which is not installed: "
            "pip install --no-deps alfworld (its dependencies compile for minutes; only engine 'official' needs them)"
        )
    return Path(spec.submodule_search_locations[0])


@cache
def domain() -> str:
    """The rules, in PDDL."""
    return (folder() / "data" / "alfred.pddl").read_text()


@cache
def wording() -> str:
    """Command templates and observation grammar; the task sentence reads UNKNOWN GOAL."""
    return (folder() / "data" / "alfred.twl2").read_text()


@dataclass(frozen=True)
class Affordances:
    """Which types can be or do what. Types are written as in the wheel, such as "ButterKnife"."""

    receptacles: frozenset[str]  # fixed ones: not bowls, pots and the like
    movable_receptacles: frozenset[str]
    openable: frozenset[str]
    holds: dict[str, frozenset[str]]  # receptacle type -> object types
    actions: dict[str, frozenset[str]]  # "Heatable", "Coolable", "Cleanable", "Toggleable", "Sliceable" -> object types
    most_instances: int  # of one object type in a scene


@dataclass(frozen=True)
class TaskText:
    """One task type: its goal in PDDL and its sentences, to be formatted with obj, recep, toggle and mrecep."""

    goal: str
    sentences: tuple[str, ...]
    rooms: frozenset[str]


@dataclass(frozen=True)
class FloorPlan:
    """One room: the receptacles that have a pose, and the types of everything in it."""

    number: int
    receptacles: dict[str, Pose]
    types: frozenset[str]


@cache
def affordances() -> Affordances:
    constants = _constants()
    movable = frozenset(constants.MOVABLE_RECEPTACLES)
    return Affordances(
        receptacles=frozenset(constants.RECEPTACLES) - movable,
        movable_receptacles=movable,
        openable=frozenset(constants.OPENABLE_CLASS_LIST),
        holds={kind: frozenset(objects) for kind, objects in constants.VAL_RECEPTACLE_OBJECTS.items()},
        actions={name: frozenset(objects) for name, objects in constants.VAL_ACTION_OBJECTS.items()},
        most_instances=constants.MAX_NUM_OF_OBJ_INSTANCES,
    )


@cache
def task_texts() -> dict[str, TaskText]:
    goals, rooms = _module("gen/goal_library.py").gdict, _constants().GOALS_VALID
    return {
        task: TaskText(goals[task]["pddl"], tuple(goals[task]["templates"]), frozenset(rooms[task])) for task in TASKS
    }


@cache
def plans(task: str, split: Split) -> tuple[int, ...]:
    """Numbers of the floor plans of a split (train: seen rooms, eval: unseen ones) whose kind of room suits a task."""
    constants = _constants()
    rooms = [numbers for room, numbers in constants.SCENE_TYPE.items() if room in task_texts()[task].rooms]
    scenes = constants.TRAIN_SCENE_NUMBERS if split == "train" else constants.TEST_SCENE_NUMBERS
    return tuple(n for n in sorted(scenes) if any(n in numbers for numbers in rooms))


@cache
def floor_plan(number: int) -> FloorPlan:
    layouts = folder() / "gen" / "layouts"
    poses = json.loads((layouts / f"FloorPlan{number}-openable.json").read_text())
    types = json.loads((layouts / f"FloorPlan{number}-objects.json").read_text())
    fixed = affordances().receptacles
    receptacles = {
        name: (round(x * 4), round(z * 4), round(heading / 90), round(tilt))
        for name, (x, z, heading, tilt) in sorted(poses.items())
        if receptacle_type(name) in fixed
    }
    return FloorPlan(number, receptacles, frozenset(types))


def receptacle_type(name: str) -> str:
    """A name's first part, but the last part of basins such as "Sink|-00.38|+00.79|-01.24|SinkBasin"."""
    parts = name.split("|")
    return parts[-1] if parts[-1].endswith("Basin") else parts[0]


def _constants() -> ModuleType:
    return _module("gen/constants.py")


@cache
def _module(path: str) -> ModuleType:
    """A data module of the wheel, loaded from its file."""
    spec = importlib.util.spec_from_file_location(f"_alfworld_{Path(path).stem}", folder() / path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
