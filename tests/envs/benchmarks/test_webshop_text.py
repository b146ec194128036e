"""WebShop without its packages: commands, words, the files' format, the generated catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from atod_sweep.envs.benchmarks.records import Account
from atod_sweep.envs.benchmarks.webshop import generate, reading
from atod_sweep.envs.benchmarks.webshop.buyer import query
from atod_sweep.envs.benchmarks.webshop.catalogue import Goal, Product
from atod_sweep.envs.benchmarks.webshop.shop import Command, plain, read_command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("search[Red Shoes]", ("search", "red shoes")),
        ("  click[Buy Now] ", ("click", "buy now")),
        ("click[< Prev]", ("click", "< prev")),
        ("search red shoes", ("search", "red shoes")),
        ("click buy now", ("click", "buy now")),
        ("click[size [us]]", ("click", "size [us]")),
        ("search[]", ("search", "")),
        ("search", ("", "")),
        ("searching shoes", ("", "")),
        ("click[buy now", ("", "")),
        ("please click[buy now]", ("", "")),
        ("", ("", "")),
        ("search[" + "x" * 1000 + "]", ("", "")),
    ],
)
def test_commands_are_read(text: str, command: tuple[str, str]) -> None:
    assert read_command(text) == Command(*command)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("WebShop [SEP] Instruction:", "webshop | instruction"),
        ("< Prev [SEP] Price: $19.99 to $25.0", "prev | price 19.99 to 25.0"),
        ("men's x-large (pack of 2), B01ABC!", "men's x-large pack of 2 b01abc"),
        ("\x00\n\t", ""),
    ],
)
def test_plain_words(text: str, words: str) -> None:
    assert plain(text) == words


def item(asin: str, **changes: Any) -> dict[str, Any]:
    return {
        "asin": asin,
        "name": "Blue Mug",
        "full_description": "A mug.",
        "small_description": ["holds tea", "holds water"],
        "pricing": "$9.99",
        "customization_options": {"Color": [{"value": " Blue/Green ", "image": None}, {"value": "Red"}], "Size": None},
        "images": [""],
        "query": " Mugs ",
        "category": "home",
        "product_category": "Home › Kitchen › Mugs",
        **changes,
    }


def account() -> Account:
    return Account("file", "records")


def products(items: list[Any], known: dict[str, list[Any]]) -> list[Product]:
    return list(reading.products(items, known, account()))


def synthetic_goals(found: list[Product], known: dict[str, list[Any]]) -> list[Goal]:
    return list(reading.synthetic_goals(found, known, account()))


def human_goals(found: list[Product], known: dict[str, list[Any]]) -> list[Goal]:
    return list(reading.human_goals(found, known, account()))


def test_products_are_read_as_webshop_reads_them() -> None:
    items = [
        item("B1"),
        item("B1", name="again"),
        item("nan"),
        item("B0123456789", name="asin too long"),
        item("B2", pricing="$1,234.50$2,000.00", small_description="one line", customization_options=""),
        item("B3", pricing="", small_description=None, full_description=None),
    ]
    first, ranged, unpriced = products(items, {"B1": [{"attributes": ["dishwasher safe"]}]})
    assert (first.asin, first.title, first.query) == ("B1", "Blue Mug", "mugs")
    assert first.options == {"color": ("blue | green", "red")}
    assert first.categories == {"Home", "Kitchen", "Mugs"}
    assert first.attributes == ("dishwasher safe",)
    assert (first.price, first.price_tag) == (9.99, "$9.99")
    assert 1234.5 <= ranged.price <= 2000
    assert ranged.price_tag == "$1234.5 to $2000.0"
    assert ranged.features == ("one line",)
    assert (unpriced.price, unpriced.price_tag, unpriced.features, unpriced.description) == (100, "$100.0", (), "")


def test_synthetic_goals_ask_for_every_combination_of_options() -> None:
    options = {"Size": [{"value": "S"}, {"value": "L"}], "Color": [{"value": "red"}]}
    asked = {"instruction": "i need a mug", "instruction_attributes": ["dishwasher safe"]}
    found = products([item("B1", customization_options=options), item("B2")], {})
    goals = synthetic_goals(found, {"B1": [asked]})
    limit = goals[0].price
    assert limit in (20, 30, 40)  # the larger of two of 10, 20, 30, 40
    assert [(goal.instruction, goal.options) for goal in goals] == [
        (f"i need a mug with color: red, and size: s, and price lower than {limit:.2f} dollars", ("red", "s")),
        (f"i need a mug with color: red, and size: l, and price lower than {limit:.2f} dollars", ("red", "l")),
    ]


@pytest.mark.parametrize(("pricing", "limits"), [("$970.00", {990}), ("$981.00", {1e6}), ("$985.00", {1e6})])
def test_there_is_no_price_limit_where_less_than_two_steps_are_left(pricing: str, limits: set[float]) -> None:
    asked = {"instruction": "i need a mug", "instruction_attributes": ["tall"]}
    (found,) = products([item("B1", pricing=pricing, customization_options={})], {})
    (goal,) = synthetic_goals([found], {"B1": [asked]})
    assert {goal.price} == limits
    assert ("price lower" in goal.instruction) == (limits != {1e6})


def test_goals_of_people_keep_their_words_and_need_attributes() -> None:
    asked = [
        {"instruction": "A mug, tall.", "instruction_attributes": ["tall"], "instruction_options": ["red"]},
        {"instruction": "any mug", "instruction_attributes": [], "instruction_options": []},
    ]
    found = products([item("B1"), item("B2")], {})
    (goal,) = human_goals(found, {"B1": asked})
    assert goal.instruction == f"A mug, tall, and price lower than {goal.price:.2f} dollars"
    assert (goal.attributes, goal.options) == (("tall",), ("red",))


def test_the_query_leaves_out_fillers_and_price() -> None:
    text = "i am looking for slim fit dress shirt with color: red, and size: m, and price lower than 40.00 dollars"
    assert query(text) == "slim fit dress shirt red m"


def test_a_generated_catalogue_is_deterministic_and_has_the_files_format() -> None:
    items, attributes = generate.catalogue(200, seed=1)
    assert (items, attributes) == generate.catalogue(200, seed=1)
    assert items != generate.catalogue(200, seed=2)[0]
    assert generate.catalogue(50, seed=1)[0] == items[:50]
    assert len({each["asin"] for each in items}) == 200
    assert len(products(items, {})) == 200
    for each in items:
        assert item("B1").keys() == each.keys()
        asked = attributes[each["asin"]]
        assert set(asked["instruction_attributes"]) <= set(asked["attributes"])
        features = " ".join(each["small_description"])
        assert all(attribute in features for attribute in asked["attributes"])
