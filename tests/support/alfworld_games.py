"""ALFWorld games written as files in the official format."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from atod_sweep.envs.benchmarks.alfworld import generate
from atod_sweep.envs.benchmarks.alfworld.engine import Engine
from atod_sweep.envs.benchmarks.alfworld.expert import Expert
from atod_sweep.envs.benchmarks.alfworld.files import FOLDERS, game_data
from atod_sweep.envs.benchmarks.alfworld.game import Game, own_grammar, prepare
from atod_sweep.envs.benchmarks.alfworld.problem import Problem
from atod_sweep.envs.contract import Split

_LONGEST_WALKTHROUGH = 200


def write_games(folder: Path, split: Split, count: int, size: generate.Size, seed: int = 0) -> list[Path]:
    """Generate games in the official format below `folder`; every one is solved by the expert before it is written."""
    paths = []
    for i in range(count):
        rng = random.Random(f"alfworld {split} {seed} {i}")
        problem = generate.draw(rng, split, size)
        sentence = rng.choice(problem.goal.sentences())
        walkthrough = solve(prepare(problem, own_grammar().with_task(sentence)))
        _, plan, trial = problem.name.split("_")
        goal = problem.goal
        place = f"{goal.task}-{goal.object}-None-{goal.receptacle or goal.lamp}-{plan}"
        path = folder / FOLDERS[split] / place / f"trial_{trial}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "game.tw-pddl").write_text(json.dumps({**game_data(problem, sentence), "walkthrough": walkthrough}))
        (path / "traj_data.json").write_text(json.dumps(_trajectory(problem, int(plan), sentence)))
        paths.append(path / "game.tw-pddl")
    return paths


def _trajectory(problem: Problem, plan: int, sentence: str) -> dict[str, Any]:
    """The part of ALFRED's trajectory file that ALFWorld reads."""
    goal = problem.goal
    return {
        "task_id": problem.name,
        "task_type": goal.task,
        "scene": {"floor_plan": f"FloorPlan{plan}", "scene_num": plan},
        "pddl_params": {
            "object_target": goal.object,
            "parent_target": goal.receptacle,
            "toggle_target": goal.lamp,
            "mrecep_target": "",
            "object_sliced": False,
        },
        "turk_annotations": {"anns": [{"task_desc": sentence}]},
    }


def solve(game: Game) -> list[str]:
    """The commands of an expert that knows where everything is. Raises RuntimeError if they do not solve the game."""
    engine = Engine(game)
    expert = Expert(engine, knowing=True)
    commands: list[str] = []
    while not engine.won:
        if len(commands) == _LONGEST_WALKTHROUGH:
            raise RuntimeError(f"no solution found for {game.grammar.task!r}")
        commands.append(expert.command())
        engine.step(commands[-1])
    return commands
