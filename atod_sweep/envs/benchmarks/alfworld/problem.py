"""One ALFWorld game in PDDL: declared things, facts at the start, goal; in the official format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from atod_sweep.envs.benchmarks.alfworld import wheel
from atod_sweep.errors import UserError

Fact = tuple[str, ...]  # predicate and arguments


@dataclass(frozen=True)
class Goal:
    """What to do. Types are as in the wheel ("ButterKnife"); `receptacle` or `lamp` is "" where the task has none."""

    task: str
    object: str
    receptacle: str
    lamp: str

    @property
    def count(self) -> int:
        """Objects needed in one receptacle."""
        return 2 if self.task == "pick_two_obj_and_place" else 1

    @property
    def process(self) -> str:
        """What must be done to the object: clean, heat or cool; "" if nothing."""
        word = self.task.split("_")[1]
        return word if word in ("clean", "heat", "cool") else ""

    def sentences(self) -> list[str]:
        """The wheel's ways to say it."""
        return [self._fill(sentence, str.lower) for sentence in wheel.task_texts()[self.task].sentences]

    def pddl(self) -> str:
        return self._fill(wheel.task_texts()[self.task].goal, str)

    def _fill(self, template: str, case: Callable[[str], str]) -> str:
        return template.format(obj=case(self.object), recep=case(self.receptacle), toggle=case(self.lamp), mrecep="")


@dataclass(frozen=True)
class Problem:
    """`declared`: (name, PDDL type) of everything; `facts`: what holds at the start. Names as in the file."""

    name: str
    declared: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]
    goal: Goal


_MANGLED = str.maketrans({"-": "_minus_", "#": "-", "|": "_bar_", "+": "_plus_", ".": "_dot_", ",": "_comma_"})


def mangle(text: str) -> str:
    """Names such as "Fridge|-02.10|+00.00|+01.09" as PDDL identifiers, and "#" as the typing dash."""
    return text.translate(_MANGLED)


# ---- writing -----------------------------------------------------------------------------------------------------


def write(problem: Problem) -> str:
    """The problem as `game.tw-pddl` holds it."""
    declared = "\n".join(f"        {name} - {kind}" for name, kind in problem.declared)
    facts = "\n".join(f"        ({' '.join(fact)})" for fact in problem.facts)
    text = (
        f"(define (problem {problem.name})\n    (:domain alfred)\n    (:objects\n{declared}\n    )\n"
        f"    (:init\n{facts}\n    )\n{mangle(problem.goal.pddl())}"
    )
    unclosed = text.count("(") - text.count(")")  # some of the wheel's goals close the whole problem, some do not
    return text + ")" * unclosed


# ---- reading -----------------------------------------------------------------------------------------------------

Tree = list[Any]  # nested lists of tokens


def read(text: str) -> Problem:
    """A problem from its PDDL. Raises UserError if it is not one of ALFWorld's six task types."""
    sections = {part[0]: part[1:] for part in _tree(text)[1:] if isinstance(part, list) and part}
    try:
        (name,), goal = sections["problem"], sections[":goal"]
        return Problem(name, tuple(_declared(sections[":objects"])), tuple(_facts(sections[":init"])), _goal(goal))
    except (KeyError, ValueError) as error:
        raise UserError(f"not an ALFWorld problem: {error} (starts with {text.strip()[:60]!r})") from error


def _tree(text: str) -> Tree:
    stack: list[Tree] = [[]]
    for token in re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text)):
        if token == "(":
            stack.append([])
        elif token != ")":
            stack[-1].append(token)
        elif len(stack) > 1:
            done = stack.pop()
            stack[-1].append(done)
    whole = stack[0] or stack[-1]
    return whole[0] if whole and isinstance(whole[0], list) else whole


def _declared(tokens: Tree) -> Iterator[tuple[str, str]]:
    """`a b - kind c - other` as pairs."""
    names: list[str] = []
    kinds = iter(tokens)
    for token in kinds:
        if token != "-":
            names.append(token)
            continue
        kind = next(kinds)
        yield from ((name, kind) for name in names)
        names = []


def _facts(trees: Tree) -> Iterator[Fact]:
    """Plain facts; distances and costs (`(= ...)`) are left out."""
    return (tuple(tree) for tree in trees if tree and tree[0] != "=")


# What a goal may say -> the task it makes, the first that applies.
_SIGNS = {
    "istoggled": "look_at_obj_in_light",
    "isclean": "pick_clean_then_place_in_recep",
    "ishot": "pick_heat_then_place_in_recep",
    "iscool": "pick_cool_then_place_in_recep",
    "=": "pick_two_obj_and_place",  # two objects that are not one
    "inreceptacle": "pick_and_place_simple",
}
_FOREIGN = {"inreceptacleobject", "issliced"}  # movable receptacles and slices: ALFRED's tasks, but not ALFWorld's


def _goal(tree: Tree) -> Goal:
    atoms = [(atom[0].lower(), *atom[1:]) for atom in _atoms(tree)]
    said = {atom[0] for atom in atoms}
    task = next((task for sign, task in _SIGNS.items() if sign in said), "")
    if not task or said & _FOREIGN:
        raise ValueError(f"its goal is of no known task: {sorted(said)}")
    types = {atom[1]: atom[2].removesuffix("Type") for atom in atoms if atom[0] == "objecttype"}
    lamp = types.pop(next(atom[1] for atom in atoms if atom[0] == "istoggled")) if "istoggled" in said else ""
    receptacle = next((atom[2].removesuffix("Type") for atom in atoms if atom[0] == "receptacletype"), "")
    return Goal(task, next(iter(types.values())), receptacle, lamp)


def _atoms(tree: Tree) -> Iterator[Fact]:
    """The facts in a formula: its innermost lists, but for lists of variables."""
    if tree and all(isinstance(token, str) for token in tree):
        if not tree[0].startswith("?"):
            yield tuple(tree)
        return
    for branch in tree:
        if isinstance(branch, list):
            yield from _atoms(branch)
