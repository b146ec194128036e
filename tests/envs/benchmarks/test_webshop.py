"""WebShop's pages, reward, search and demonstrator."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
from typing import Any

import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from atod_sweep.envs.benchmarks import optional as optional_module
from atod_sweep.envs.benchmarks.webshop import WebShop, generate, reward
from atod_sweep.envs.benchmarks.webshop.catalogue import Catalogue, Goal, Product
from atod_sweep.envs.benchmarks.webshop.shop import Session, read_command
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.errors import UserError

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("bm25s") and importlib.util.find_spec("rapidfuzz")),
    reason="needs the extra webshop",
)


def product(asin: str = "B1", title: str = "Tall Stone Mug", **changes: Any) -> Product:
    values: dict[str, Any] = {
        "description": "Keeps drinks warm.",
        "features": ("dishwasher safe", "no handle"),
        "price": 12.0,
        "price_tag": "$12.0",
        "options": {"color": ("blue", "sky blue", "red"), "size": ("8 oz", "12 oz")},
        "attributes": ("dishwasher safe", "hand made"),
        "query": "mugs",
        "categories": frozenset({"Home", "Kitchen", "Mugs"}),
    }
    return Product(asin=asin, title=title, **{**values, **changes})


def goal(wanted: Product, **changes: Any) -> Goal:
    values: dict[str, Any] = {
        "attributes": ("dishwasher safe", "hand made"),
        "options": ("blue", "8 oz"),
        "price": 20.0,
    }
    return Goal(wanted, "i need a mug", **{**values, **changes})


def shop(*others: Product) -> Session:
    mug = product()
    goals = [goal(mug) for _ in range(5)]
    return Session(Catalogue([mug, *others], goals), goals[0])


# ---- reward: (matched attributes + matched options + cheap enough) / 5 in the base case -----------------------------


@pytest.mark.parametrize(
    ("changes", "options", "total"),
    [
        ({}, ("blue", "8 oz"), 1.0),
        ({}, ("blue",), 4 / 5),
        ({}, (), 3 / 5),
        ({}, ("sky blue", "8 oz"), 1.0),  # a blue
        ({}, ("red", "8 oz"), 4 / 5),
        ({"price": 20.0}, ("blue", "8 oz"), 1.0),
        ({"price": 20.01}, ("blue", "8 oz"), 4 / 5),
        ({"attributes": ()}, ("blue", "8 oz"), 4 / 5),  # "dishwasher safe" is still among the features
        ({"attributes": ("safe dishwasher",), "features": ()}, ("blue", "8 oz"), 4 / 5),  # the order of words is free
        ({"attributes": (), "description": "Hand made by us."}, ("blue", "8 oz"), 1.0),
    ],
)
def test_reward_of_the_right_kind_of_product(changes: dict[str, Any], options: tuple[str, ...], total: float) -> None:
    assert reward.score(product("B2", **changes), goal(product()), options).total == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize(
    ("title", "changes", "kind"),
    [
        ("Tall Stone Mug", {}, 1.0),
        ("Glass Mug", {}, 1.0),  # one of three nouns, and the same query
        ("Glass Mug", {"query": "x", "categories": frozenset({"Toys"})}, 1.0),  # 1/3 > 0.2
        ("Linen Towel", {}, 0.0),  # no noun in common, whatever the category
        ("Linen Towel", {"query": "towels"}, 0.0),
    ],
)
def test_reward_factor_of_the_kind_of_product(title: str, changes: dict[str, Any], kind: float) -> None:
    assert reward.score(product("B2", title, **changes), goal(product()), ()).kind == kind


@pytest.mark.parametrize(("shared", "kind"), [(1, 0.1), (2, 0.5), (4, 0.5), (5, 1.0), (20, 1.0)])
def test_reward_factor_by_the_share_of_title_nouns(shared: int, kind: float) -> None:
    """Of 20 nouns: 0.05 is below 0.1; 0.1 and 0.2 are not above 0.2; 0.25 is."""
    nouns = [a + b for a, b in itertools.product("bcdf", "aeiou")]
    wanted = product(title=" ".join(nouns), categories=frozenset({"A"}), query="a")
    bought = product("B2", " ".join(nouns[:shared]), categories=frozenset({"B"}), query="b")
    assert reward.score(bought, goal(wanted), ()).kind == kind


def test_two_shared_category_levels_make_it_the_same_kind() -> None:
    wanted = product(title="b c d f g")
    related = product("B2", "b x", query="x", categories=frozenset({"Home", "Kitchen", "Pots"}))
    unrelated = product("B3", "b x", query="x", categories=frozenset({"Home", "Garden"}))
    assert reward.score(related, goal(wanted), ()).kind == 1.0
    assert reward.score(unrelated, goal(wanted), ()).kind == 0.5


def test_words_of_attributes_and_fillers_are_no_nouns() -> None:
    wanted = product(title="Hand Made Mug for the Dishwasher 12")
    assert reward.score(product("B2", "Hand Made Towel for the Dishwasher 12"), goal(wanted), ()).kind == 0.0


def test_generated_options_and_attributes_can_be_told_apart() -> None:
    groups = [*generate._ATTRIBUTES.values()]
    groups += [tuple(itertools.chain(*options.values())) for options in generate._OPTIONS.values()]
    for group in groups:
        for one, other in itertools.combinations(group, 2):
            assert not reward._same(reward._color(one), reward._color(other)), (one, other)


# ---- pages -------------------------------------------------------------------------------------------------------


def test_a_visit_page_by_page() -> None:
    session = shop()
    top = "Instruction: [SEP] i need a mug [SEP] Back to Search"
    item = (
        "< Prev [SEP] color [SEP] blue [SEP] sky blue [SEP] red [SEP] size [SEP] 8 oz [SEP] 12 oz [SEP] Tall Stone Mug "
        "[SEP] Price: $12.0 [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    visit = [
        ("search[stone mug]", f"{top} [SEP] Page 1 (Total results: 1) [SEP] B1 [SEP] Tall Stone Mug [SEP] $12.0"),
        ("click[b1]", f"{top} [SEP] {item}"),
        ("click[sky blue]", f"{top} [SEP] {item}"),
        ("click[features]", f"{top} [SEP] < Prev [SEP] dishwasher safe [SEP] no handle"),
        ("click[< prev]", f"{top} [SEP] {item}"),
        ("click[description]", f"{top} [SEP] < Prev [SEP] Keeps drinks warm."),
        ("click[< prev]", f"{top} [SEP] {item}"),
        ("click[reviews]", f"{top} [SEP] < Prev [SEP] No reviews found"),
        ("click[< prev]", f"{top} [SEP] {item}"),
        ("click[8 oz]", f"{top} [SEP] {item}"),
        ("click[buy now]", "Thank you for shopping with us! [SEP] Your score (min 0.0, max 1.0) [SEP] 1.00"),
    ]
    assert session.text() == "WebShop [SEP] Instruction: [SEP] i need a mug [SEP] Search"
    for command, page in visit:
        assert session.act(read_command(command)), command
        assert session.text() == page
    assert session.score is not None
    assert session.clickables() == []


def test_results_are_shown_ten_to_a_page() -> None:
    session = shop(*(product(f"C{i:02d}", "Stone Pot") for i in range(24)))
    session.act(read_command("search[stone]"))
    seen = []
    for number, buttons in ((1, ["next >"]), (2, ["< prev", "next >"]), (3, ["< prev"])):
        assert session.text().count("Stone") == (5 if number == 3 else 10)
        assert f"Page {number} (Total results: 25)" in session.text()
        assert session.clickables()[: 1 + len(buttons)] == ["back to search", *buttons]
        seen += session.clickables()[1 + len(buttons) :]
        assert session.act(read_command("click[next >]")) == (number < 3)
    assert len(set(seen)) == 25
    session.act(read_command("click[< prev]"))
    assert session.number == 2


def test_at_most_fifty_hits_and_none_for_unknown_words() -> None:
    session = shop(*(product(f"C{i:02d}", "Stone Pot") for i in range(80)))
    session.act(read_command("search[stone]"))
    assert "Total results: 50" in session.text()
    session.act(read_command("search[xyzzy]"))
    assert session.text().endswith("Page 1 (Total results: 0)")
    assert session.clickables() == ["back to search"]
    session.act(read_command("search[<r>]"))  # a way around the search on WebShop's site
    assert session.results == ()


def test_chosen_options_are_lost_on_the_way_back_but_not_on_a_sub_page() -> None:
    session = shop()
    for command in ("search[mug]", "click[b1]", "click[red]", "click[blue]", "click[features]", "click[< prev]"):
        session.act(read_command(command))
    assert session.options == {"color": "blue"}
    session.act(read_command("click[< prev]"))
    assert (session.page, session.options) == ("results", {})


@pytest.mark.parametrize(
    "command", ["click[buy now]", "click[b9]", "click[search]", "buy", "search[]", "click[ ]", "x"]
)
def test_what_the_page_does_not_offer_changes_nothing(command: str) -> None:
    session = shop()
    before = session.text()
    assert not session.act(read_command(command))
    assert session.text() == before


def test_rarer_words_and_better_matches_come_first() -> None:
    session = shop(product("C1", "Stone Pot"), product("C2", "Stone Pot with Lid"), product("C3", "Wooden Pot"))
    found = [each.asin for each in session.catalogue.search("stone pot with a lid")]
    assert found[0] == "C2"
    assert found.index("C1") < found.index("C3")


# ---- the environment ---------------------------------------------------------------------------------------------


def play(env: WebShop, seed: int, mistakes: float = 0.0) -> tuple[float, dict[str, Any]]:
    rng = random.Random(seed)
    env.reset(seed=seed)
    while True:
        safe = [action for action in env.actions() if "buy now" not in action]
        action = rng.choice(safe) if rng.random() < mistakes else env.demonstrator_action()
        _, reward_, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return reward_, info


@pytest.mark.parametrize("style", ["compact", "natural"])
def test_the_demonstrator_buys_the_right_thing(style: str) -> None:
    env = WebShop(style=style, products=300)
    ends = [play(env, seed) for seed in range(60)]
    assert sum(info["success"] for _, info in ends) >= 58
    assert all(reward_ == info["metrics"]["score"] and info["metrics"]["valid"] == 1.0 for reward_, info in ends)


def test_the_demonstrator_recovers_from_mistakes() -> None:
    env = WebShop(products=300, horizon=60)
    assert sum(play(env, seed, mistakes=0.4)[1]["success"] for seed in range(40)) >= 38


@pytest.mark.parametrize("style", ["compact", "natural"])
def test_every_word_is_in_the_vocabulary(style: str) -> None:
    env = WebShop(style=style, products=60)
    known = set(env.vocabulary())
    for seed in (*range(30), *range(EVAL_SEEDS.start, EVAL_SEEDS.start + 10)):
        rng = random.Random(seed)
        text, _ = env.reset(seed=seed)
        over = False
        while not over:
            action = rng.choice(env.actions()) if rng.random() < 0.6 else env.demonstrator_action()
            said = {*text.split(), *action.split()}
            assert said <= known, said - known
            text, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        assert set(text.split()) <= known


def test_splits_hold_different_goals_and_seeds_find_them_again() -> None:
    env = WebShop(products=100)
    goals = env.catalogue.goals
    assert not {g.instruction for g in goals["train"]} & {g.instruction for g in goals["eval"]}
    assert 100 < len(goals["eval"]) <= 500
    assert len(goals["train"]) > 3 * len(goals["eval"])
    assert env.reset(seed=7) == WebShop(products=100).reset(seed=7)
    assert env.reset(seed=7) != env.reset(seed=8)
    assert env.reset(seed=EVAL_SEEDS.start)[1]["instruction"] in {g.instruction for g in goals["eval"]}
    assert env.reset(seed=7, options={"split": "eval"})[1]["instruction"] in {g.instruction for g in goals["eval"]}


def test_the_same_catalogue_serves_all_environments() -> None:
    assert WebShop(products=50).catalogue is WebShop(products=50, style="natural", horizon=3).catalogue
    assert WebShop(products=50).catalogue is not WebShop(products=50, catalogue_seed=1).catalogue


def test_time_runs_out_without_a_purchase() -> None:
    env = WebShop(products=50, horizon=2)
    env.reset(seed=0)
    assert env.step("fly")[1:4] == (0.0, False, False)
    _, reward_, terminated, truncated, info = env.step("search red")
    assert (reward_, terminated, truncated) == (0.0, False, True)
    assert info == {"is_admissible": True, "success": 0.0, "metrics": {"score": 0.0, "valid": 0.5}}


def test_webshops_own_files_are_read(tmp_path) -> None:
    items, attributes = generate.catalogue(40, seed=3)
    (tmp_path / "items_shuffle_1000.json").write_text(json.dumps(items))
    with pytest.raises(UserError, match=r"no items_ins_v2.json or items_ins_v2_1000.json"):
        WebShop(data=str(tmp_path))
    (tmp_path / "items_ins_v2_1000.json").write_text(json.dumps(attributes))
    env = WebShop(data=str(tmp_path), products=30)
    assert len(env.catalogue.products) == 30
    assert play(env, 1)[1]["success"] == 1.0
    people = {
        items[i]["asin"]: [
            {
                "instruction": f"goal {i}.",
                "instruction_attributes": attributes[items[i]["asin"]]["attributes"][:1],
                "instruction_options": [],
            }
        ]
        for i in range(10)
    }
    (tmp_path / "items_human_ins.json").write_text(json.dumps(people))
    env = WebShop(data=str(tmp_path), products=20)
    assert env.reset(seed=1)[1]["instruction"].startswith("goal ")
    assert sorted(map(len, env.catalogue.goals.values())) == [2, 8]


def test_it_is_a_gymnasium_environment() -> None:
    check_env(WebShop(products=50), skip_render_check=True)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=300)
    | st.sampled_from(["", "\x00", "search[" + "red " * 25_000 + "]", "click[<", "search[\x1b]"])
)
def test_any_text_is_answered(text: str) -> None:
    env = WebShop(products=50)
    env.reset(seed=0)
    observation, reward_, terminated, _, _ = env.step(text)
    assert observation
    assert (reward_, terminated) == (0.0, False)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"style": "loud"}, "style: unknown value 'loud'; known: compact, natural"),
        ({"products": 0}, "products: at least 1, got 0"),
        ({"horizon": 0}, "at least 1 turn, got 0"),
        ({"data": "/nowhere"}, "no items_shuffle.json"),
    ],
)
def test_bad_arguments_are_quoted(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WebShop(catalogue_seed=99, **kwargs)


def test_a_catalogue_needs_goals_for_both_splits() -> None:
    with pytest.raises(UserError, match="at least 5 goals, got 4"):
        Catalogue([product()], [goal(product()) for _ in range(4)])


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr(optional_module.importlib, "import_module", missing)
    with pytest.raises(
        UserError, match=r"'bm25s', which is not installed: pip install .atod-sweep\[webshop\]"
    ) as error:
        WebShop(products=33)
    assert "\n" not in str(error.value)


def test_card() -> None:
    assert "Differences from the original" in WebShop(products=50).card()
