"""Long-horizon planning: fill orders in a workshop, with tools, materials, recipes and energy."""

from __future__ import annotations

import random
from functools import cache
from itertools import combinations
from typing import NamedTuple

from atod_sweep.envs.families.game import Game, Turn, share, words
from atod_sweep.envs.families.rules import Rules, draw_rules

HANDS = "hands"  # no tool
ENERGY = 6  # after a rest
START_ENERGY = (4, 5, 6)


class Material(NamedTuple):
    """A raw material, the tool and the action that gather it, and what an action makes of it."""

    raw: str
    tool: str
    gather: str
    made: str
    make: str


MATERIALS = (
    Material("wood", "axe", "chop", "plank", "saw"),
    Material("ore", "pick", "dig", "ingot", "smelt"),
    Material("fiber", "knife", "cut", "rope", "spin"),
)
TOOLS = tuple(m.tool for m in MATERIALS)
GATHER = {m.gather: m for m in MATERIALS}
MAKE = {m.make: m for m in MATERIALS}
ITEMS = tuple(m.raw for m in MATERIALS) + tuple(m.made for m in MATERIALS)
BUILD, REST = "build", "rest"

# What can be ordered -> the two items that it usually takes.
GOODS = {
    "cart": "plank ingot",
    "ladder": "plank rope",
    "hammer": "wood ingot",
    "net": "fiber rope",
    "bridge": "wood rope",
    "plough": "wood ore",
    "anvil": "ore ingot",
    "sail": "plank fiber",
}
SITES = ("coast", "forest", "hill", "marsh", "desert", "valley")
EXCEPTIONS = 2  # sites per good that want one of its items replaced
_RECIPES = tuple(" ".join(pair) for pair in combinations(ITEMS, 2))


@cache
def rules(table_seed: int, outdated: float) -> Rules:
    """Recipe (two items) by (site, good), 6 x 8 pairs: the one in force and the one in the demonstrator's book."""
    alternatives = {
        good: [recipe for recipe in _RECIPES if len(set(recipe.split()) & set(usual.split())) == 1]
        for good, usual in GOODS.items()
    }
    return draw_rules(f"planner {table_seed}", SITES, GOODS, alternatives, EXCEPTIONS, outdated)


# ---- shortest plans ----------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """What an order still needs: actions that cost energy, and tools to hold at some time."""

    actions: int
    tools: frozenset[str]


@cache
def remaining_work(recipe: str, held: frozenset[str]) -> Work:
    """The least work for one order, given the items held; one that is not needed as such may be made into another."""
    needed = frozenset(recipe.split())
    actions, tools = 1, set()  # the building itself
    for m in MATERIALS:
        makes = m.made in needed - held
        gathers = max(0, (m.raw in needed) + makes - (m.raw in held))
        actions += makes + gathers
        if gathers:
            tools.add(m.tool)
    return Work(actions, frozenset(tools))


@cache
def tool_changes(tool: str, orders: tuple[frozenset[str], ...]) -> int:
    """The fewest changes of the tool in hand that serve the orders one after the other."""
    if not orders:
        return 0
    first, later = orders[0], orders[1:]
    if not first:
        return tool_changes(tool, later)
    if tool in first:
        return tool_changes(tool, (first - {tool}, *later))
    return 1 + min(tool_changes(other, (first - {other}, *later)) for other in first)


def shortest_plan(tool: str, energy: int, orders: list[Work]) -> int:
    """Turns of the shortest plan: work, changes of tool, and rests (each best taken when no energy is left)."""
    actions = sum(order.actions for order in orders)
    rests = max(0, -(-(actions - energy) // ENERGY))
    return actions + rests + tool_changes(tool, tuple([order.tools for order in orders]))


# ---- the game ----------------------------------------------------------------------------------------------------


class Wording(NamedTuple):
    """How a style says things."""

    introduction: str
    state: str
    nothing: str
    lacks: str
    needs: str
    tired: str
    useless: str
    unknown: str
    solved: str


WORDINGS = {
    "compact": Wording(
        introduction="",
        state="{good} {site} {tool} {energy} {items}",
        nothing="",
        lacks="lacks {what} ",
        needs="needs {what} ",
        tired="tired ",
        useless="no ",
        unknown="what ",
        solved="delivered",
    ),
    "natural": Wording(
        introduction=(
            "You run a workshop and fill orders. Each good takes two items; which ones depends on the good and on the "
            "site. Reply with one action and nothing else. "
            f"{', '.join(TOOLS)}: take that tool in place of the other. "
            + " ".join(f"{m.gather}: gather {m.raw}, with the {m.tool}." for m in MATERIALS)
            + " "
            + " ".join(f"{m.make}: make one {m.made} of {m.raw}." for m in MATERIALS)
            + f" {BUILD}: build and deliver the good; this empties the workshop. {REST}: get your energy back. All but "
            "taking a tool and resting costs one energy. You can have one item of a kind. "
        ),
        state="The order: one {good} for the {site}. In hand: {tool}. Energy: {energy}. Items: {items}",
        nothing="none",
        lacks="You have no {what} for that. ",
        needs="That needs the {what} in your hand. ",
        tired="You are too tired; rest first. ",
        useless="That changes nothing. ",
        unknown="That is not an action. ",
        solved="The last order is delivered.",
    ),
}


class Order(NamedTuple):
    """A good for a site."""

    good: str
    site: str


class Task(NamedTuple):
    """A day in the workshop: what is there in the morning (one item or none), and the orders in turn."""

    tool: str
    energy: int
    items: tuple[str, ...]
    orders: tuple[Order, ...]


class Planner(Game):
    """Workshop days of 8 to 40 turns; see `card`.

    `outdated`: share of (site, good) pairs, 0 to 1, that the demonstrator's recipe book gets wrong. `table_seed`: which
    workshop's recipes. `style`: "compact" (4 to 12 words an observation) or "natural".
    """

    name = "planner"
    metric_names = ("efficiency",)
    horizons = range(8, 41)

    def __init__(self, horizon: int = 16, style: str = "compact", outdated: float = 0.2, table_seed: int = 0) -> None:
        super().__init__(horizon, style)
        self.n_orders = horizon // 8
        self.rules = rules(table_seed, share("outdated", outdated))
        self.wording = WORDINGS[style]
        self._goods = tuple(GOODS)

    def draw(self, rng: random.Random) -> Task:
        """A task whose shortest plan leaves one spare turn per order at least."""
        while True:
            items = rng.choice(((), *((item,) for item in ITEMS)))
            orders = tuple([Order(rng.choice(self._goods), rng.choice(SITES)) for _ in range(self.n_orders)])
            task = Task(rng.choice((HANDS, *TOOLS)), rng.choice(START_ENERGY), items, orders)
            if self.shortest(task) <= self.horizon - self.n_orders:
                return task

    def shortest(self, task: Task) -> int:
        """Turns of the shortest plan for `task`."""
        held = [frozenset(task.items)] + [frozenset[str]()] * (len(task.orders) - 1)
        work = [remaining_work(self._recipe(order), have) for order, have in zip(task.orders, held, strict=True)]
        return shortest_plan(task.tool, task.energy, work)

    def deal(self, task: Task) -> str:
        self._task = task
        self._tool, self._energy, self._held = task.tool, task.energy, set(task.items)
        self._delivered = 0
        return self.wording.introduction + self._state()

    def respond(self, action: str) -> Turn:
        problem = self._act(action)
        if self._delivered == len(self._task.orders):
            return Turn(self.wording.solved, solved=True)
        return Turn(problem + self._state())

    def _act(self, action: str) -> str:
        """Do it, or say in words why it cannot be done."""
        w = self.wording
        if action in TOOLS:
            same = action == self._tool
            self._tool = action
            return w.useless if same else ""
        if action == REST:
            full = self._energy == ENERGY
            self._energy = ENERGY
            return w.useless if full else ""
        if action != BUILD and action not in GATHER and action not in MAKE:
            return w.unknown
        if not self._energy:
            return w.tired
        problem = self._work(action)
        self._energy -= not problem
        return problem

    def _work(self, action: str) -> str:
        w = self.wording
        if action == BUILD:
            missing = [item for item in self._recipe(self._order()).split() if item not in self._held]
            if missing:
                return w.lacks.format(what=missing[0])
            self._held.clear()
            self._delivered += 1
            return ""
        m = GATHER.get(action) or MAKE[action]
        result = m.raw if action in GATHER else m.made
        if action in GATHER and self._tool != m.tool:
            return w.needs.format(what=m.tool)
        if action in MAKE and m.raw not in self._held:
            return w.lacks.format(what=m.raw)
        if result in self._held:
            return w.useless
        self._held.add(result)
        if action in MAKE:
            self._held.remove(m.raw)
        return ""

    def metrics(self, solved: bool) -> dict[str, float]:
        """`efficiency`: turns of the shortest plan over turns taken; 0 if not solved."""
        return {"efficiency": self.shortest(self._task) / self.turn if solved else 0.0}

    def _order(self) -> Order:
        return self._task.orders[self._delivered]

    def _recipe(self, order: Order) -> str:
        return self.rules.right[order.site, order.good]

    def _state(self) -> str:
        order = self._order()
        items = " ".join([item for item in ITEMS if item in self._held]) or self.wording.nothing
        said = self.wording.state.format(
            good=order.good, site=order.site, tool=self._tool, energy=self._energy, items=items
        )
        return said.rstrip()

    # ---- for teachers and reports ------------------------------------------------------------------------------

    def demonstrator_action(self) -> str:
        """The next action of a shortest plan by the demonstrator's recipe book."""
        recipes = [self.rules.manual[order.site, order.good] for order in self._task.orders[self._delivered :]]
        return next_action(recipes, self._tool, self._energy, frozenset(self._held))

    def actions(self) -> list[str]:
        return [*TOOLS, *GATHER, *MAKE, BUILD, REST]

    def vocabulary(self) -> list[str]:
        w = self.wording
        said = [w.introduction, w.nothing, w.tired, w.useless, w.unknown, w.solved, *ITEMS, *self.actions()]
        said += [w.lacks.format(what=item) for item in ITEMS] + [w.needs.format(what=tool) for tool in TOOLS]
        said += [
            w.state.format(good=good, site=site, tool=tool, energy=energy, items="")
            for good in GOODS
            for site in SITES
            for tool in (HANDS, *TOOLS)
            for energy in range(ENERGY + 1)
        ]
        return words(said)

    def card(self) -> str:
        wrong, n = self.rules.wrong_share(), self.n_orders
        return f"""# planner

A workshop fills {n} orders one after the other. Horizon {self.horizon} (8 to 40 turns).

**Rules.** An order names a good (8) and a site (6); the recipe, two of six items, is a function of both: each good has
a usual one, and 2 of the 6 sites want one item replaced. Raw items are gathered with a tool in hand (three tools, one
at a time), the others are made of raw ones. Gathering, making and building cost one of {ENERGY} energy, resting brings
it back, and nothing works at zero. The state is in every observation. What cannot be done costs the turn and is
answered with the reason; building without an item names the item. Building empties the workshop. The shortest plan
leaves at least {n} spare turns.

**Reward.** 1 if all orders are delivered within the horizon, else 0, at the end only. `efficiency`: turns of the
shortest plan over turns taken, 0 without success.

**Demonstrator.** Plans without waste, by a recipe book that is out of date: it is wrong for {wrong:.0%} of the (site,
good) pairs, and the demonstrator goes on building by the book, whatever it is told. Expected success: about
{1 - wrong:.2f}^{n} = {(1 - wrong) ** n:.2f}. The reward knows the right recipe.

**Limits.** Everything is deterministic and visible but the recipes; orders do not overlap. Train and evaluation days
differ; the (site, good) pairs that they are made of are the same.
"""


def next_action(recipes: list[str], tool: str, energy: int, held: frozenset[str]) -> str:
    """The next action of a shortest plan for the orders with these recipes, the first of them under way."""
    needed = frozenset(recipes[0].split())
    makes = [m for m in MATERIALS if m.made in needed - held]
    tools = remaining_work(recipes[0], held).tools
    ready = [m.make for m in makes if m.raw in held]
    if ready:
        action = ready[0]
    elif not tools:
        action = BUILD
    elif tool in tools:
        action = next(m.gather for m in MATERIALS if m.tool == tool)
    else:
        later = tuple([remaining_work(recipe, frozenset()).tools for recipe in recipes[1:]])
        return min(sorted(tools), key=lambda t: tool_changes(t, (tools - {t}, *later)))
    return action if energy else REST
