"""ALFWorld's game without textworld and without a planner: the rules of `alfred.pddl` in Python.

Observations, admissible commands and success equal the official environment's, step by step, quirks included: asked to
`look` in the middle of a room one sees nothing, an object can be examined only while it is held, lamps are only ever
switched on, heating, cooling and cleaning work with the door shut, and where two receptacles share a pose, what was
moved from one to the other lies "next to" them.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from atod_sweep.envs.benchmarks.alfworld.game import Facts, Game
from atod_sweep.envs.benchmarks.alfworld.grammar import Scope, render, render_parts

NOTHING = "Nothing happens."

_CHANGING = (
    "atlocation",
    "objectatlocation",
    "inreceptacle",
    "not_inreceptacle",
    "holds",
    "holdsany",
    "opened",
    "isclean",
    "ishot",
    "iscool",
    "istoggled",
    "issliced",
)
# Receptacle type -> what it does to a held object, what the object must be, the fact gained, the fact lost.
_TOOLS = {
    "sinkbasintype": ("cleanobject", "cleanable", "isclean", None),
    "microwavetype": ("heatobject", "heatable", "ishot", "iscool"),
    "fridgetype": ("coolobject", "coolable", "iscool", "ishot"),
}
TOOL_OF = {"clean": "sinkbasintype", "heat": "microwavetype", "cool": "fridgetype"}
_PROCESSED = {"clean": "isclean", "heat": "ishot", "cool": "iscool"}
_KNIVES = ("knifetype", "butterknifetype")


class Action(NamedTuple):
    """A PDDL action in lower case, and its arguments by parameter."""

    name: str
    scope: Scope


class Reply(NamedTuple):
    """`action` is None where the command was not admissible."""

    text: str
    won: bool
    action: Action | None


class Engine:
    """One episode of a game. `facts` is the current state; `wanted`, `target`, `lamp`: types that the goal names."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.agent = game.facts["atlocation"][0][0]
        self.openable, self.pickupable = game.are("openable"), game.are("pickupable")
        self.toggleable, self.sliceable = game.are("toggleable"), game.are("sliceable")
        goal = game.goal
        self.wanted, self.target, self.lamp = (f"{t}type".lower() for t in (goal.object, goal.receptacle, goal.lamp))
        self._able = {needed: game.are(needed) for _, needed, _, _ in _TOOLS.values()}
        journeys = [Action("gotolocation", {"r": r, "lend": place}) for r, place in game.place.items()]
        self._journeys = {self.text(*journey): journey for journey in journeys}
        self._start()

    def reset(self) -> str:
        """Start over; the first observation."""
        self._start()
        return self._render("intro", {})

    def _start(self) -> None:
        self.facts: Facts = {**self.game.facts, **{p: list(self.game.facts.get(p, ())) for p in _CHANGING}}
        self._commands: dict[str, Action] | None = None
        self.won = self._solved()

    def step(self, command: str) -> Reply:
        """Play one command; one that is not admissible changes nothing."""
        action = self.commands().get(command.strip())
        if action is None:
            return Reply(NOTHING, self.won, None)
        self._apply(action)
        self._commands = None
        self.won = self._solved()
        return Reply(self._render(self.game.grammar.feedback[action.name], action.scope), self.won, action)

    def commands(self) -> dict[str, Action]:
        """The admissible commands, not sorted."""
        if self._commands is None:
            location = self.location
            self._commands = {text: go for text, go in self._journeys.items() if go.scope["lend"] != location}
            for name, scope in self._actions(location, self.held):
                self._commands[self.text(name, scope)] = Action(name, scope)
        return self._commands

    # ---- the state -----------------------------------------------------------------------------------------------

    @property
    def location(self) -> int:
        return self.facts["atlocation"][0][1]

    @property
    def held(self) -> int | None:
        holds = self.facts["holds"]
        return holds[0][1] if holds else None

    def here(self) -> list[int]:
        """Receptacles at the agent's location."""
        location = self.location
        return [r for r, place in self.game.place.items() if place == location]

    def contents(self, receptacle: int) -> list[int]:
        return [o for o, r in self.facts["inreceptacle"] if r == receptacle]

    def accessible(self, receptacle: int) -> bool:
        """Not shut."""
        return receptacle not in self.openable or (receptacle,) in self.facts["opened"]

    # ---- rules ---------------------------------------------------------------------------------------------------

    def _actions(self, location: int, held: int | None) -> Iterator[tuple[str, Scope]]:
        """Everything but going elsewhere."""
        yield "look", {"a": self.agent, "l": location}
        yield "inventory", {"a": self.agent}
        yield "help", {"a": self.agent}
        for receptacle in self.here():
            yield from self._at(receptacle, held)
        if held is None:
            return
        yield "examineobject", {"o": held}
        if self.game.kind.get(held) in _KNIVES:
            for thing, place in self.facts["objectatlocation"]:
                if place == location and thing in self.sliceable:
                    yield "sliceobject", {"co": thing, "ko": held}

    def _at(self, receptacle: int, held: int | None) -> Iterator[tuple[str, Scope]]:
        yield "examinereceptacle", {"r": receptacle}
        accessible = self.accessible(receptacle)
        if receptacle in self.openable:
            yield ("closeobject" if accessible else "openobject"), {"r": receptacle}
        for thing in self.contents(receptacle):
            if thing in self.toggleable:
                yield "toggleobject", {"o": thing, "r": receptacle}
            if accessible and held is None and thing in self.pickupable:
                yield "pickupobject", {"o": thing, "r": receptacle}
        if held is None:
            return
        kind = self.game.kind
        if accessible and self.game.can_hold(receptacle, kind[held]):
            yield "putobject", {"o": held, "r": receptacle}
        if tool := _TOOLS.get(kind.get(receptacle, "")):
            name, needed, _, _ = tool
            if held in self._able[needed]:
                yield name, {"o": held, "r": receptacle}

    def _apply(self, action: Action) -> None:
        name, scope = action
        if name == "gotolocation":
            self.facts["atlocation"] = [(self.agent, scope["lend"])]
        elif name == "openobject":
            self._add("opened", scope["r"])
        elif name == "closeobject":
            self._remove("opened", scope["r"])
        elif name == "pickupobject":
            self._take(scope["o"], scope["r"])
        elif name == "putobject":
            self._put(scope["o"], scope["r"])
        elif name == "toggleobject":
            self._add("istoggled", scope["o"])
        elif name == "sliceobject":
            self._add("issliced", scope["co"])
        elif name in ("cleanobject", "heatobject", "coolobject"):
            _, _, gained, lost = _TOOLS[self.game.kind[scope["r"]]]
            self._add(gained, scope["o"])
            if lost:
                self._remove(lost, scope["o"])

    def _take(self, thing: int, receptacle: int) -> None:
        self._remove("inreceptacle", thing, receptacle)
        self._add("not_inreceptacle", thing, receptacle)
        self._remove("objectatlocation", thing, self.location)
        self._add("holds", self.agent, thing)
        self._add("holdsany", self.agent)

    def _put(self, thing: int, receptacle: int) -> None:
        self._add("inreceptacle", thing, receptacle)
        self._remove("not_inreceptacle", thing, receptacle)
        self._add("objectatlocation", thing, self.location)
        self._remove("holds", self.agent, thing)
        self._remove("holdsany", self.agent)

    def _add(self, predicate: str, *entities: int) -> None:
        if entities not in self.facts[predicate]:
            insort(self.facts[predicate], entities)

    def _remove(self, predicate: str, *entities: int) -> None:
        if entities in self.facts[predicate]:
            self.facts[predicate].remove(entities)

    def _solved(self) -> bool:
        goal, kind, inside = self.game.goal, self.game.kind, self.facts["inreceptacle"]
        if goal.lamp:
            held, here = self.held, self.here()
            lit = any(r in here and kind.get(o) == self.lamp and (o,) in self.facts["istoggled"] for o, r in inside)
            return lit and held is not None and self.is_wanted(held)
        found = Counter(r for o, r in inside if self.is_wanted(o) and self.is_target(r) and self.processed(o))
        return max(found.values(), default=0) >= goal.count

    def is_wanted(self, thing: int) -> bool:
        return self.game.kind.get(thing) == self.wanted

    def is_target(self, receptacle: int) -> bool:
        return self.game.kind.get(receptacle) == self.target

    def processed(self, thing: int) -> bool:
        """Clean, hot or cool, if the task asks for that."""
        process = self.game.goal.process
        return not process or (thing,) in self.facts[_PROCESSED[process]]

    # ---- words ---------------------------------------------------------------------------------------------------

    def _render(self, rule: str, scope: Scope) -> str:
        return render(self.game.grammar, rule, scope, self.facts, self.game.names)

    def text(self, name: str, scope: Scope) -> str:
        """The command that means an action, its arguments in the order in which `commands` gives them."""
        key = (name, tuple(scope.values()))
        text = self.game.texts.get(key)
        if text is None:
            parts = self.game.grammar.commands[name]
            text = render_parts(self.game.grammar, parts, scope, self.game.facts, self.game.names)
            self.game.texts[key] = text
        return text
