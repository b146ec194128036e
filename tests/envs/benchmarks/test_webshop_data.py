"""WebShop's files as people have them: every record is read, or left out, counted and named."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atod_sweep.config.train import Env
from atod_sweep.envs.benchmarks.webshop import WebShop, fields, generate, reward
from atod_sweep.envs.benchmarks.webshop.catalogue import Goal
from atod_sweep.envs.look import look
from atod_sweep.envs.speed import measure
from atod_sweep.errors import UserError

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("bm25s") and importlib.util.find_spec("rapidfuzz")),
    reason="needs the extra webshop",
)

MISSING = object()
NAN = math.nan


@pytest.mark.parametrize(
    ("pricing", "prices"),
    [
        ("$9.99", [9.99]),
        ("$9.99$14.99", [9.99, 14.99]),
        ("$9.99 - $14.99", [9.99, 14.99]),
        ("$9.99 - 14.99", [9.99, 14.99]),
        ("$9.99 to 14.99", [9.99, 14.99]),
        ("$1,234.50", [1234.5]),
        ("$1,234,567.00", [1234567.0]),
        ("$1,299", [1299.0]),
        ("from $9.99.", [9.99]),
        ("From: $ 9.99 (2 pack)", [9.99]),
        ("$.99", [0.99]),
        ("12.99", [12.99]),
        ("12,99", [12.99]),
        ("12.99 - 15", [12.99, 15.0]),
        ("12.99$", [12.99]),
        ("US$12.99", [12.99]),
        ("12.99 €", [12.99]),
        ("1.299,00 €", [1299.0]),
        ("1.299.000,5", [1299000.5]),
        (-5, []),
        (10**400, []),
        ("9" * 400, []),
        (12.99, [12.99]),
        (12, [12.0]),
        ([12.99], [12.99]),
        (["$9.99", "$14.99"], [9.99, 14.99]),
        ([9.99, 14.99, 20.0], [9.99, 14.99]),
        ([None, "$9.99"], [9.99]),
        ({"low": 9.99, "high": "$14.99"}, [9.99, 14.99]),
        ("$", []),
        ("", []),
        ("  ", []),
        ("N/A", []),
        ("Currently unavailable.", []),
        (None, []),
        (NAN, []),
        (math.inf, []),
        (True, []),
        ([], []),
        ({}, []),
    ],
)
def test_prices_of_all_sorts(pricing: Any, prices: list[float]) -> None:
    assert fields.prices(pricing) == prices


def write(folder: Path, items: Any, known: Any, people: Any = None) -> str:
    folder.mkdir(exist_ok=True)
    for name, data in (("items_shuffle_1000", items), ("items_ins_v2_1000", known), ("items_human_ins", people)):
        if data is not None:
            text = data if isinstance(data, bytes) else json.dumps(data).encode()
            (folder / f"{name}.json").write_bytes(text)
    return str(folder)


def changed(count: int = 30, **fields: Any) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """A generated catalogue of which the third record has other fields, and that one's ASIN."""
    items, known = generate.catalogue(count, 0)
    asin = items[2]["asin"]
    for field, value in fields.items():
        record = known[asin] if field.startswith("instruction") or field == "attributes" else items[2]
        if value is MISSING:
            del record[field]
        else:
            record[field] = value
    return items, known, asin


# What stands in a product's field -> what is read.
READ = {
    "no name of a sort": ({"query": MISSING}, {"query": ""}),
    "query null": ({"query": None}, {"query": ""}),
    "query nan": ({"query": NAN}, {"query": ""}),
    "category null": ({"product_category": None}, {"categories": frozenset()}),
    "category missing": ({"product_category": MISSING}, {"categories": frozenset()}),
    "no description": ({"full_description": MISSING}, {"description": ""}),
    "description nan": ({"full_description": NAN}, {"description": ""}),
    "holes in the features": ({"small_description": [None, "soft", "", 3, NAN]}, {"features": ("soft", "3")}),
    "features null": ({"small_description": None}, {"features": ()}),
    "features missing": ({"small_description": MISSING}, {"features": ()}),
    "one feature": ({"small_description": "soft"}, {"features": ("soft",)}),
    "no options": ({"customization_options": MISSING}, {"options": {}}),
    "options null": ({"customization_options": None}, {"options": {}}),
    "options as an empty list": ({"customization_options": []}, {"options": {}}),
    "an option without values": ({"customization_options": {"color": [{"value": None}]}}, {"options": {}}),
    "an option that is null": ({"customization_options": {"color": None, "Size": NAN}}, {"options": {}}),
    "some values": (
        {"customization_options": {"Color": [{"value": None}, {"value": " Red/Blue "}, {"image": ""}]}},
        {"options": {"color": ("red | blue",)}},
    ),
    "plain values": ({"customization_options": {"size": ["S", 10, None]}}, {"options": {"size": ("s", "10")}}),
    "a single value": ({"customization_options": {"size": {"value": "S"}}}, {"options": {"size": ("s",)}}),
    "a number for a name": ({"name": 1984}, {"title": "1984"}),
    "attributes null": ({"attributes": None}, {"attributes": ()}),
    "one attribute": ({"attributes": "soft"}, {"attributes": ("soft",)}),
    "price as a list": ({"pricing": [12.99]}, {"price": 12.99, "price_tag": "$12.99"}),
    "price without a sign": ({"pricing": "12.99"}, {"price": 12.99, "price_tag": "$12.99"}),
    "price from": ({"pricing": "from $9.99."}, {"price": 9.99, "price_tag": "$9.99"}),
    "price null": ({"pricing": None}, {"price": 100.0, "price_tag": "$100.0"}),
    "price missing": ({"pricing": MISSING}, {"price": 100.0, "price_tag": "$100.0"}),
}


@pytest.mark.parametrize("case", READ)
def test_fields_of_all_sorts_are_read(tmp_path: Path, case: str) -> None:
    change, read = READ[case]
    items, known, asin = changed(**change)
    shop = WebShop(data=write(tmp_path, items, known))
    product = shop.catalogue.products[asin]
    assert {field: getattr(product, field) for field in read} == read
    assert shop.remarks() == []
    assert shop.vocabulary()
    assert measure(Env(id="webshop", kwargs={"data": str(tmp_path)}), seconds=0.0).episodes == 1


# What stands there -> what is said. {asin}: the record.
NAMED = {
    "name null": ({"name": None}, "1 of 30 products left out ({asin}: name None)"),
    "name missing": ({"name": MISSING}, "1 of 30 products left out ({asin}: name missing)"),
    "name blank": ({"name": " "}, "1 of 30 products left out ({asin}: name ' ')"),
    "name list": ({"name": ["Mug"]}, "1 of 30 products left out ({asin}: name ['Mug'])"),
    "asin nan": ({"asin": NAN}, "1 of 30 products left out (record 2: asin nan)"),
    "asin as pandas": ({"asin": "nan"}, "1 of 30 products left out (record 2: asin 'nan')"),
    "asin null": ({"asin": None}, "1 of 30 products left out (record 2: asin None)"),
    "asin missing": ({"asin": MISSING}, "1 of 30 products left out (record 2: asin missing)"),
    "asin long": ({"asin": "B0123456789"}, "1 of 30 products left out (record 2: asin 'B0123456789')"),
    "features object": ({"small_description": {"a": 1}}, "({asin}: small_description {{'a': 1}})"),
    "options list": ({"customization_options": ["red"]}, "({asin}: customization_options ['red'])"),
    "options nested": (
        {"customization_options": {"color": [{"value": ["red"]}]}},
        "({asin}: customization_options.color ['red'])",
    ),
    "half a character": ({"full_description": "a \ud83d"}, "left out ({asin}: full_description 'a \\ud83d')"),
    "half of an option": ({"customization_options": {"\ud83d": ["s"]}}, "({asin}: customization_options '\\ud83d')"),
    "half of a value": ({"customization_options": {"a": ["\ud83d"]}}, "({asin}: customization_options.a '\\ud83d')"),
    "half of a wish": ({"instruction": "\ud83d"}, "1 of 30 goals left out ({asin}: instruction '\\ud83d')"),
    "too many options": (
        {"customization_options": {"abcdefgh"[i]: list("0123456789") for i in range(8)}},
        "goals left out ({asin}: 100,000,000 combinations of options)",
    ),
    "category list": ({"product_category": ["Home"]}, "({asin}: product_category ['Home'])"),
    "query list": ({"query": ["mugs"]}, "({asin}: query ['mugs'])"),
    "price in words": ({"pricing": "N/A"}, "1 read with another value ({asin}: pricing 'N/A' as $100)"),
    "price without number": ({"pricing": "$"}, "1 read with another value ({asin}: pricing '$' as $100)"),
    "no wishes": ({"instruction_attributes": None}, "1 of 30 goals left out ({asin}: instruction_attributes None)"),
    "empty wishes": ({"instruction_attributes": []}, "1 of 30 goals left out ({asin}: instruction_attributes [])"),
    "wishes missing": ({"instruction_attributes": MISSING}, "goals left out ({asin}: instruction_attributes None)"),
    "wishes blank": (
        {"instruction_attributes": [None, ""]},
        "goals left out ({asin}: instruction_attributes [None, ''])",
    ),
    "instruction list": ({"instruction": ["a mug"]}, "1 of 30 goals left out ({asin}: instruction ['a mug'])"),
}


@pytest.mark.parametrize("case", NAMED)
def test_what_cannot_be_used_is_counted_and_named(tmp_path: Path, case: str) -> None:
    change, said = NAMED[case]
    items, known, asin = changed(**change)
    shop = WebShop(data=write(tmp_path, items, known))
    (line,) = shop.remarks()
    assert line.startswith("items_ins_v2_1000.json: " if "goals" in said else "items_shuffle_1000.json: ")
    assert said.format(asin=asin) in line
    assert len(shop.catalogue.products) == (29 if "products" in line else 30)


def test_many_are_counted_and_four_are_named(tmp_path: Path) -> None:
    items, known = generate.catalogue(40, 0)
    items[10]["asin"] = items[0]["asin"]
    for item in items[20:27]:
        item["name"] = None
    items += [None, "a mug", 7]
    (line,) = WebShop(data=write(tmp_path, items, known)).remarks()
    twice = items[0]["asin"]
    assert line.startswith(f"items_shuffle_1000.json: 11 of 43 products left out ({twice}: asin there before; ")
    assert line.count(": name None") == 3
    assert line.endswith("; and 7 more)")


def without_asin(item: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in item.items() if field != "asin"}


@pytest.mark.parametrize(
    "shape",
    [
        lambda items: json.dumps({item["asin"]: item for item in items}).encode(),
        lambda items: json.dumps({item["asin"]: without_asin(item) for item in items}).encode(),
        lambda items: "\n".join(map(json.dumps, items)).encode(),
        lambda items: ("\n\n".join(map(json.dumps, items)) + "\n").encode(),
        lambda items: "\r\n".join(map(json.dumps, items)).encode("utf-8-sig"),
        lambda items: json.dumps(items, indent=1).encode("utf-8-sig"),
    ],
    ids=["by asin", "by asin alone", "lines", "lines apart", "lines of Windows", "byte order mark"],
)
def test_files_of_all_shapes(tmp_path: Path, shape: Any) -> None:
    items, known = generate.catalogue(30, 0)
    usual = WebShop(data=write(tmp_path / "usual", items, known)).catalogue
    listed = [{"asin": asin, **record} for asin, record in known.items()]
    for i, other in enumerate((known, listed, "\n".join(map(json.dumps, listed)).encode())):
        found = WebShop(data=write(tmp_path / str(i), shape(items), other)).catalogue
        assert [vars(p) for p in found.products.values()] == [vars(p) for p in usual.products.values()]
        assert [g.instruction for g in found.goals["train"]] == [g.instruction for g in usual.goals["train"]]


PEOPLE = {
    "a list": ({"instruction_options": ["red", "s"]}, ("red", "s")),
    "a mapping": ({"instruction_options": {"color": "red", "size": "s"}}, ("red", "s")),
    "pairs": ({"instruction_options": [["color", "red"], ["size", "s"]]}, ("red", "s")),
    "one": ({"instruction_options": "red"}, ("red",)),
    "holes": ({"instruction_options": ["red", None]}, ("red",)),
    "null": ({"instruction_options": None}, ()),
    "none": ({}, ()),
}


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("case", PEOPLE)
def test_goals_of_people_in_all_shapes(tmp_path: Path, case: str, single: bool) -> None:
    change, options = PEOPLE[case]
    items, known = generate.catalogue(30, 0)
    goal = {"instruction": "A mug.", "instruction_attributes": ["tall"], **change}
    people = {item["asin"]: goal if single else [goal] for item in items}
    shop = WebShop(data=write(tmp_path, items, known, people))
    goals = [*shop.catalogue.goals["train"], *shop.catalogue.goals["eval"]]
    assert {(g.attributes, g.options) for g in goals} == {(("tall",), options)}
    assert shop.remarks() == []


def test_goals_of_people_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    items, known = generate.catalogue(30, 0)
    people: dict[str, Any] = {
        item["asin"]: [{"instruction": f"The mug {item['asin']}.", "instruction_attributes": ["tall"]}]
        for item in items
    }
    names = list(people)
    (good,) = people[names[0]]
    people[names[0]] = [None, {**good, "instruction": None}, {**good, "instruction_attributes": None}, good]
    people[names[1]].append({**good, "instruction_attributes": []})  # left out by WebShop as well
    shop = WebShop(data=write(tmp_path, items, known, people))
    (line,) = shop.remarks()
    assert line == (
        f"items_human_ins.json: 3 of 34 goals left out ({names[0]}: None; {names[0]}: instruction None; "
        f"{names[0]}: instruction_attributes None)"
    )
    assert sum(map(len, shop.catalogue.goals.values())) == 30


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (b"", r"items_shuffle_1000.json: is empty; fetch it again"),
        (b" \n", r"items_shuffle_1000.json: is empty"),
        (b'[{"asin": "B0', r"items_shuffle_1000.json: is no JSON, nor JSON in lines: Unterminated string.*line 1"),
        (b"<html>Quota exceeded</html>", r"items_shuffle_1000.json: is no JSON"),
        (b"\xff\xfe\x00", r"items_shuffle_1000.json: cannot be read: 'utf-8' codec"),
        (b"[" * 100_000, r"items_shuffle_1000.json: is no JSON.*recursion"),
        (b"7", r"items_shuffle_1000.json: holds 7; expected a list of products"),
        (b"[]", r"items_shuffle_1000.json: no product can be read"),
        (
            b"[null, {}]",
            r"no product can be read; .*2 of 2 products left out \(record 0: None; record 1: asin m",
        ),
    ],
)
def test_files_that_hold_nothing_are_told_in_one_line(tmp_path: Path, items: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        WebShop(data=write(tmp_path, items, {}))
    assert "\n" not in str(caught.value)


def test_products_without_a_query_are_not_of_one_sort(tmp_path: Path) -> None:
    items, known, _ = changed(query=None)
    items[3]["query"] = ""
    catalogue = WebShop(data=write(tmp_path, items, known)).catalogue
    bare: dict[str, Any] = {"attributes": (), "categories": frozenset()}
    bought = replace(catalogue.products[items[2]["asin"]], title="mug tea cup pot jug pan", **bare)
    wanted = replace(catalogue.products[items[3]["asin"]], title="mug sofa lamp bed desk rug", **bare)
    assert bought.query == wanted.query == ""
    assert reward.score(bought, Goal(wanted, "", ("tall",), (), 20.0), ()).kind == 0.5


def test_the_look_tells_what_was_left_out(tmp_path: Path) -> None:
    items, known, asin = changed(name=None)
    config = Env(id="webshop", horizon=15, kwargs={"data": write(tmp_path, items, known)})
    assert look([config]).notes == [
        f"env.id: 'webshop': items_shuffle_1000.json: 1 of 30 products left out ({asin}: name None)"
    ]
