"""planner: preconditions in words, shortest plans against brute force, the book's flaw."""

import pytest

from atod_sweep.envs.families.planner import (
    GOODS,
    Order,
    Planner,
    Task,
    Work,
    remaining_work,
    rules,
    shortest_plan,
    tool_changes,
)


def dealt(*orders: tuple[str, str], tool: str = "hands", energy: int = 6, items: tuple[str, ...] = ()) -> Planner:
    env = Planner(16, outdated=0.0)
    env.reset(seed=0)
    env.deal(Task(tool, energy, items, tuple(Order(good, site) for site, good in orders)))
    return env


def usual(good: str) -> tuple[str, str]:
    """An order for `good` from a site without an exception."""
    return next(pair for pair, recipe in rules(0, 0.0).right.items() if pair[1] == good and recipe == GOODS[good])


def brute_force(env: Planner) -> int:
    """Length of the shortest plan, by breadth-first search through the game itself."""
    start = (env._tool, env._energy, frozenset(env._held), env._delivered)
    seen, frontier, turns = {start}, [start], 0
    while True:
        turns += 1
        following = []
        for state in frontier:
            for action in env.actions():
                env._tool, env._energy, held, env._delivered = state
                env._held = set(held)
                if env.respond(action).solved:
                    return turns
                after = (env._tool, env._energy, frozenset(env._held), env._delivered)
                if after not in seen:
                    seen.add(after)
                    following.append(after)
        frontier = following


def test_exceptions_replace_one_item_and_ten_recipes_of_the_book_are_wrong() -> None:
    right, manual = rules(0, 0.2)
    assert len(right) == 48
    for good, recipe in GOODS.items():
        others = [r for (_, g), r in right.items() if g == good and r != recipe]
        assert len(others) == 2
        assert all(len(set(other.split()) & set(recipe.split())) == 1 for other in others)
    assert sum(right[pair] != manual[pair] for pair in right) == 10  # 0.2 x 48 = 9.6


@pytest.mark.parametrize(
    ("recipe", "held", "actions", "tools"),
    [
        ("wood ore", set(), 3, {"axe", "pick"}),  # chop, dig, build
        ("plank rope", set(), 5, {"axe", "knife"}),  # chop, saw, cut, spin, build
        ("wood plank", set(), 4, {"axe"}),  # chop, saw, chop, build
        ("wood plank", {"wood"}, 3, {"axe"}),  # saw, chop, build
        ("plank rope", {"wood"}, 4, {"knife"}),
        ("plank rope", {"plank", "rope", "ore"}, 1, set()),
    ],
)
def test_remaining_work(recipe: str, held: set, actions: int, tools: set) -> None:
    assert remaining_work(recipe, frozenset(held)) == Work(actions, frozenset(tools))


@pytest.mark.parametrize(
    ("tool", "orders", "changes"),
    [
        ("hands", [], 0),
        ("axe", [{"axe"}], 0),
        ("hands", [{"axe", "pick"}], 2),
        ("axe", [{"axe", "pick"}, {"pick"}], 1),
        ("hands", [{"axe", "pick"}, {"axe"}], 2),  # pick first
        ("axe", [{"axe", "pick"}, set(), {"axe", "pick"}], 2),
    ],
)
def test_tool_changes(tool: str, orders: list, changes: int) -> None:
    assert tool_changes(tool, tuple(frozenset(order) for order in orders)) == changes


@pytest.mark.parametrize(("energy", "turns"), [(6, 5), (5, 5), (4, 6), (0, 6)])
def test_a_rest_is_needed_once_energy_runs_out(energy: int, turns: int) -> None:
    assert shortest_plan("axe", energy, [Work(5, frozenset({"axe"}))]) == turns


@pytest.mark.parametrize("horizon", [8, 16])
def test_the_shortest_plan_is_the_shortest(horizon: int) -> None:
    env = Planner(horizon)
    for seed in range(40 if horizon == 8 else 12):
        _, info = env.reset(seed=seed)
        assert brute_force(env) == env.shortest(info["task"])


@pytest.mark.parametrize("horizon", [8, 17, 40])
def test_a_demonstrator_with_the_right_book_wastes_nothing(horizon: int) -> None:
    env = Planner(horizon, outdated=0.0)
    for seed in range(200):
        _, info = env.reset(seed=seed)
        assert env.shortest(info["task"]) <= horizon - env.n_orders
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(env.demonstrator_action())
            over = terminated or truncated
        assert info == {"is_admissible": True, "success": 1.0, "metrics": {"efficiency": 1.0}}


@pytest.mark.parametrize(("horizon", "orders"), [(8, 1), (16, 2), (24, 3), (40, 5)])
def test_orders_by_horizon_and_the_demonstrators_ceiling(horizon: int, orders: int) -> None:
    env = Planner(horizon)
    assert env.n_orders == orders
    solved = 0.0
    for seed in range(600):
        env.reset(seed=seed)
        over = False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.demonstrator_action())
            over = terminated or truncated
        solved += reward
    assert solved / 600 == pytest.approx((38 / 48) ** orders, abs=0.07)


def test_preconditions_are_answered_in_words() -> None:
    site, good = usual("ladder")  # plank rope
    env = dealt((site, good), energy=2)
    for action, answer in [
        ("chop", f"needs axe {good} {site} hands 2"),
        ("saw", f"lacks wood {good} {site} hands 2"),
        ("axe", f"{good} {site} axe 2"),
        ("axe", f"no {good} {site} axe 2"),
        ("chop", f"{good} {site} axe 1 wood"),
        ("chop", f"no {good} {site} axe 1 wood"),
        ("build", f"lacks plank {good} {site} axe 1 wood"),
        ("saw", f"{good} {site} axe 0 plank"),
        ("build", f"tired {good} {site} axe 0 plank"),
        ("fly", f"what {good} {site} axe 0 plank"),
    ]:
        assert env.step(action)[0] == answer


def test_building_empties_the_workshop_and_rest_fills_energy() -> None:
    env = dealt(usual("plough"), usual("net"), tool="pick", energy=4, items=("plank",))
    for action in ["dig", "axe", "chop"]:
        env.step(action)
    site, good = usual("net")
    assert env.step("build")[0] == f"{good} {site} axe 1"
    assert env.step("rest")[0] == f"{good} {site} axe 6"
    assert env.step("rest")[0] == f"no {good} {site} axe 6"
