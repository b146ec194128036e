"""A problem made ready to play: names, numbered entities, facts by predicate."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from atod_sweep.envs.benchmarks.alfworld import grammar, wheel
from atod_sweep.envs.benchmarks.alfworld.grammar import Grammar, Tuple
from atod_sweep.envs.benchmarks.alfworld.problem import Goal, Problem, read
from atod_sweep.envs.benchmarks.records import read_json
from atod_sweep.errors import UserError

# The rules that `engine` follows: SHA-256 of alfworld 0.4.2's domain without comments and white space.
_RULES = "9f953aecdc35af60a358f47af88a4db2be7e74c5de0561d2bee5b81e46c43fa5"

Facts = dict[str, list[Tuple]]


@dataclass(frozen=True)
class Game:
    """Entities are numbers, in the sorted order of their names in lower case; types read like "appletype"."""

    goal: Goal
    grammar: Grammar
    names: list[str]  # by entity
    facts: Facts  # at the start: predicate in lower case -> sorted arguments
    kind: dict[int, str]  # object or receptacle -> type
    place: dict[
        int, int
    ]  # receptacle -> location, for those that can be reached; in the order of the first observation
    holds: dict[str, frozenset[str]]  # receptacle type -> object types
    texts: dict[tuple[str, Tuple], str] = field(default_factory=dict)  # command texts, filled while playing

    def can_hold(self, receptacle: int, kind: str) -> bool:
        return kind in self.holds.get(self.kind.get(receptacle, ""), ())

    def are(self, predicate: str) -> set[int]:
        """The entities of which a predicate holds at the start."""
        return {entities[0] for entities in self.facts.get(predicate, ())}


def prepare(problem: Problem, wording: Grammar) -> Game:
    """The game of a problem, to be told in the words of `wording`, task sentence included."""
    names = {name for fact in problem.facts for name in fact[1:]}
    ids = sorted({name.lower() for name in names})
    rank = {name: i for i, name in enumerate(ids)}
    number = {name: rank[name.lower()] for name in names}
    facts: dict[str, set[Tuple]] = defaultdict(set)
    for predicate, *arguments in problem.facts:
        facts[predicate.lower()].add(tuple([number[argument] for argument in arguments]))
    places = [(receptacle, location) for receptacle, location in sorted(facts["receptacleatlocation"])]
    holds: dict[str, set[str]] = defaultdict(set)
    for receptacle_type, object_type in facts["cancontain"]:
        holds[ids[receptacle_type]].add(ids[object_type])
    return Game(
        goal=problem.goal,
        grammar=wording,
        names=_names(ids),
        facts={predicate: sorted(entities) for predicate, entities in facts.items()},
        kind={thing: ids[kind] for thing, kind in [*facts["objecttype"], *facts["receptacletype"]]},
        place=dict(places),
        holds={kind: frozenset(kinds) for kind, kinds in holds.items()},
    )


def _names(ids: list[str]) -> list[str]:
    """ALFWorld's names: "cabinet 3" for "cabinet_bar_...", numbered downwards per type over the sorted ids."""
    stems = [name.split("_bar_", 1)[0] + ("basin" if "basin" in name else "") for name in ids]
    left = Counter(stem for stem, name in zip(stems, ids, strict=True) if "_bar_" in name)
    names = []
    for stem, name in zip(stems, ids, strict=True):
        names.append(f"{stem} {left[stem]}" if "_bar_" in name else name)
        left[stem] -= 1
    return names


# ---- game files --------------------------------------------------------------------------------------------------


@cache
def own_grammar() -> Grammar:
    """The wheel's wording, read once."""
    check_rules(wheel.domain())
    return grammar.read(wheel.wording())


def load(path: Path) -> Game:
    """The game of an official `game.tw-pddl` file."""
    try:
        data = read_json(path)
        check_rules(data["pddl_domain"])
        words = grammar.read(data["grammar"])
        grammar.check(words, map(str.lower, re.findall(r"\(:action\s+([\w/-]+)", data["pddl_domain"])))
        return prepare(read(data["pddl_problem"]), words)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"cannot play {str(path)!r}: {error}") from error


@cache
def check_rules(domain: str) -> None:
    """Raises UserError if a domain's rules are not those that the engine follows."""
    plain = "".join(re.sub(r";.*", "", domain).split()).lower()
    if hashlib.sha256(plain.encode()).hexdigest() != _RULES:
        raise UserError(
            "the ALFWorld rules here differ from those of alfworld 0.4.2, which the fast engine follows; "
            "set env.kwargs.engine: official, or pip install --no-deps alfworld==0.4.2"
        )
