"""Games as files in the official format: `<task>-<object>-None-<place>-<floor plan>/trial_.../game.tw-pddl`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from atod_sweep.envs.benchmarks.alfworld import wheel
from atod_sweep.envs.benchmarks.alfworld.problem import Problem, write
from atod_sweep.envs.benchmarks.alfworld.wheel import TASKS
from atod_sweep.envs.benchmarks.records import Account, Unusable, quote, read_json
from atod_sweep.envs.contract import Split
from atod_sweep.errors import UserError
from atod_sweep.paths import expanded

# Folders of the official data that hold a split: seen rooms to learn in, unseen ones to be evaluated in.
FOLDERS: dict[Split, str] = {"train": "train", "eval": "valid_unseen"}


class Library(NamedTuple):
    """The games of a split that can be played, and a sentence on those that cannot."""

    paths: tuple[Path, ...]
    remarks: tuple[str, ...]


def game_files(folder: str, split: Split, tasks: tuple[str, ...]) -> tuple[Path, ...]:
    """Paths of a split's games of the given tasks, sorted. Raises UserError if none is left (see `library`)."""
    found = library(folder, split, tasks)
    if found.paths:
        return found.paths
    why = f" ({found.remarks[0]})" if found.remarks else ""
    place = str(expanded(folder) / FOLDERS[split])
    raise UserError(
        f"env.kwargs.games: no game.tw-pddl of the tasks {', '.join(tasks)} below {place!r}"
        f"{why}; give a folder with train/ and valid_unseen/ (alfworld-download makes one), or leave games out to "
        "generate them"
    )


@cache
def library(folder: str, split: Split, tasks: tuple[str, ...]) -> Library:
    """What a folder holds of a split; `folder` may name variables, as in "$ALFWORLD_DATA".

    Like the official loader it leaves out games with movable receptacles and slices, and games that are not marked as
    solvable.
    """
    for base in (expanded(folder), expanded(folder) / "json_2.1.1"):
        found = sorted((base / FOLDERS[split]).glob("**/game.tw-pddl"))
        wanted = [path for path in found if _task_of(path) in tasks and "Sliced" not in path.parent.parent.name]
        if wanted:
            account = Account(str(base / FOLDERS[split]), "games")
            paths = tuple(path for path in wanted if _is_playable(path, account))
            return Library(paths, tuple(account.lines()))
    return Library((), ())


def _is_playable(path: Path, account: Account) -> bool:
    account.count()
    try:
        data = read_json(path)
        if not isinstance(data, dict):
            raise Unusable(f"holds {quote(data)}")
        for field in ("pddl_domain", "grammar", "pddl_problem"):
            if not isinstance(data.get(field), str):
                raise Unusable(f"{field} {quote(data[field]) if field in data else 'missing'}")
        problem = data["pddl_problem"]
        if not problem.strip() or problem.count("(") > problem.count(")"):
            raise Unusable(f"pddl_problem is cut off after {len(problem):,} characters")
        if "solvable" not in data:
            raise Unusable("not marked as solvable")
        if not data["solvable"]:
            raise Unusable("marked as unsolvable")
    except (UserError, Unusable) as why:
        account.leave_out("/".join(path.parts[-3:-1]), str(why).removeprefix(f"{path}: "))
        return False
    return True


def _task_of(path: Path) -> str:
    """From the folder's name; where that says nothing, from the trajectory beside the game, as the official loader."""
    task = path.parent.parent.name.split("-")[0]
    told = path.with_name("traj_data.json")
    if task in TASKS or not told.is_file():
        return task
    try:
        data = read_json(told)
    except UserError:
        return task
    return str(data.get("task_type")) if isinstance(data, dict) else task


def game_data(problem: Problem, sentence: str) -> dict[str, Any]:
    """What `game.tw-pddl` holds, less the walkthrough."""
    return {
        "pddl_domain": wheel.domain(),
        "grammar": wheel.wording().replace("UNKNOWN GOAL", sentence),
        "pddl_problem": write(problem),
        "solvable": True,
    }
