"""A demonstrator for ALFWorld's tasks that plans anew from the current state, whatever happened before."""

from __future__ import annotations

from collections import Counter

from atod_sweep.envs.benchmarks.alfworld.engine import TOOL_OF, Action, Engine


class Expert:
    """`knowing`: it knows where everything is; otherwise it knows what the agent was shown, and searches for the rest.

    The searcher looks first into those receptacles of which the room has few, since an object is as likely to be in
    the only fridge as in any of 20 cabinets; among equals it follows the order of the first observation.
    """

    def __init__(self, engine: Engine, knowing: bool) -> None:
        self.engine = engine
        self.knowing = knowing
        kind = engine.game.kind
        rarity = Counter(kind.get(r) for r in engine.game.place)
        self._order = sorted(engine.game.place, key=lambda r: rarity[kind.get(r)])  # stable
        self.reset()

    def reset(self) -> None:
        """Forget what was shown in the last episode."""
        self._shown: set[int] = set()
        self._seen: set[int] = set()

    def observe(self, action: Action | None) -> None:
        """Take note of what an action of the agent has shown."""
        if action and action.name in ("gotolocation", "openobject", "examinereceptacle"):
            receptacle = action.scope["r"]
            if self.engine.accessible(receptacle):
                self._shown.add(receptacle)
                self._seen.update(self.engine.contents(receptacle))

    def command(self) -> str:
        """The next command; "look" where nothing is left to do or no way is known."""
        engine = self.engine
        if engine.won:
            return "look"
        if engine.held is None:
            return self._fetch()
        if not engine.is_wanted(engine.held):
            return self._put_down(engine.held)
        if engine.game.goal.lamp:
            return self._light()
        if not engine.processed(engine.held):
            return self._process(engine.held)
        return self._reach(self._destination()) or self._say("putobject", o=engine.held, r=self._destination())

    def _fetch(self) -> str:
        """Take a wanted object that is not yet where it belongs; a clean, hot or cool one first, then a near one."""
        engine, destination = self.engine, self._destination()
        found = [
            (thing, receptacle)
            for thing, receptacle in self._known(self.engine.wanted)
            if thing in engine.pickupable and not (receptacle == destination and engine.processed(thing))
        ]
        if not found:
            return self._search(self.engine.wanted)
        thing, receptacle = min(found, key=lambda pair: (not engine.processed(pair[0]), self._far(pair[1])))
        return self._reach(receptacle) or self._say("pickupobject", o=thing, r=receptacle)

    def _light(self) -> str:
        found = self._known(self.engine.lamp)
        if not found:
            return self._search(self.engine.lamp)
        lamp, receptacle = min(found, key=lambda pair: self._far(pair[1]))
        return self._go(receptacle) or self._say("toggleobject", o=lamp, r=receptacle)

    def _process(self, thing: int) -> str:
        process = self.engine.game.goal.process
        tool = next(r for r in self.engine.game.place if self.engine.game.kind.get(r) == TOOL_OF[process])
        return self._go(tool) or self._say(f"{process}object", o=thing, r=tool)

    def _put_down(self, thing: int) -> str:
        """Wherever it may lie, as near as possible."""
        engine = self.engine
        homes = [r for r in engine.game.place if engine.game.can_hold(r, engine.game.kind[thing])]
        if not homes:
            return "look"
        home = min(homes, key=lambda r: (self._far(r), not engine.accessible(r)))
        return self._reach(home) or self._say("putobject", o=thing, r=home)

    def _search(self, kind: str) -> str:
        """Look into the next receptacle, those that usually hold such a thing first."""
        unseen = [r for r in self._order if r not in self._shown]
        if not unseen:
            return "look"
        receptacle = min(unseen, key=lambda r: not self.engine.game.can_hold(r, kind))
        return self._reach(receptacle) or self._say("examinereceptacle", r=receptacle)

    # ---- what is known -------------------------------------------------------------------------------------------

    def _known(self, kind: str) -> list[tuple[int, int]]:
        """(object, receptacle) of every object of a type whose place is known and can be reached."""
        game = self.engine.game
        return [
            (thing, receptacle)
            for thing, receptacle in self.engine.facts["inreceptacle"]
            if game.kind.get(thing) == kind and receptacle in game.place and (self.knowing or thing in self._seen)
        ]

    def _destination(self) -> int:
        """The receptacle of the task's type in which most is done; the first one if none has anything."""
        engine = self.engine
        done = Counter(r for thing, r in self._known(self.engine.wanted) if engine.processed(thing))
        return max((r for r in engine.game.place if engine.is_target(r)), key=lambda r: done[r], default=-1)

    # ---- commands ------------------------------------------------------------------------------------------------

    def _far(self, receptacle: int) -> bool:
        return self.engine.game.place[receptacle] != self.engine.location

    def _go(self, receptacle: int) -> str:
        """The command that brings one to a receptacle, "" if one is there."""
        if not self._far(receptacle):
            return ""
        return self._say("gotolocation", r=receptacle, lend=self.engine.game.place[receptacle])

    def _reach(self, receptacle: int) -> str:
        """The next command on the way to the inside of a receptacle, "" if one can put a hand in."""
        if go := self._go(receptacle):
            return go
        return "" if self.engine.accessible(receptacle) else self._say("openobject", r=receptacle)

    def _say(self, action: str, **scope: int) -> str:
        return self.engine.text(action, scope)
