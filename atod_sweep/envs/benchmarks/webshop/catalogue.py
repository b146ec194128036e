"""WebShop's products and goals, read from its files' format once and shared by all episodes."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from atod_sweep.envs.benchmarks.optional import optional
from atod_sweep.envs.benchmarks.webshop import generate
from atod_sweep.envs.contract import Split
from atod_sweep.errors import UserError

HITS = 50  # products that a search finds at most
_NO_PRICE_LIMIT = 1e6
_EVAL_GOALS = 500
_GOAL_ORDER = 233  # the seed with which WebShop shuffles its goals


@dataclass(frozen=True, eq=False)
class Product:
    """`options`: option name -> values, in lower case as the query is; `categories`: levels of the product category."""

    asin: str
    title: str
    description: str
    features: tuple[str, ...]
    price: float
    price_tag: str
    options: dict[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    query: str
    categories: frozenset[str]

    @cached_property
    def texts(self) -> tuple[str, str, str]:
        """Title, features and description in lower case, where attributes are looked for."""
        return self.title.lower(), " ".join(self.features).lower(), self.description.lower()


@dataclass(frozen=True, eq=False)
class Goal:
    """What to buy: something like `product` with these attributes and option values, for at most `price` dollars."""

    product: Product
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[str, ...]
    price: float


class Catalogue:
    """Products by ASIN, goals by split, and a BM25 index. Read only."""

    def __init__(self, products: Iterable[Product], goals: list[Goal]) -> None:
        self.products = {product.asin: product for product in products}
        random.Random(_GOAL_ORDER).shuffle(goals)
        held_out = min(_EVAL_GOALS, len(goals) // 5)
        unseen = {goal.instruction for goal in goals[:held_out]}
        self.goals: dict[Split, list[Goal]] = {
            "eval": goals[:held_out],
            "train": [goal for goal in goals if goal.instruction not in unseen],
        }
        if not held_out:
            raise UserError(f"env.kwargs: a catalogue needs at least 5 goals, got {len(goals)}; give it more products")
        library = optional("bm25s", "env.id: 'webshop'", "pip install bm25s rapidfuzz")
        self._asins = list(self.products)
        self._index = library.BM25(k1=0.9, b=0.4)  # pyserini's defaults, which WebShop uses
        self._index.index([tokens(_document(p)) for p in self.products.values()], show_progress=False)

    def search(self, words: str) -> tuple[Product, ...]:
        """The best matches, best first; none if no word is in the catalogue."""
        return _search(self, words)

    def _rank(self, words: list[str]) -> tuple[Product, ...]:
        scores = self._index.get_scores(words)
        best = np.argsort(-scores, kind="stable")[:HITS]
        return tuple(self.products[self._asins[i]] for i in best if scores[i] > 0)


@lru_cache(maxsize=4096)
def _search(catalogue: Catalogue, words: str) -> tuple[Product, ...]:
    return catalogue._rank(tokens(words)) if tokens(words) else ()


def tokens(text: str) -> list[str]:
    """Lower-case words, unstemmed."""
    return re.findall(r"[^\W_]+", text.lower())


def _document(product: Product) -> str:
    """What is searched: title, description, first feature, options, as in WebShop's index."""
    options = " ".join(f"{name} {' '.join(values)}" for name, values in product.options.items())
    return " ".join([product.title, product.description, *product.features[:1], options])


# ---- reading the files' format -----------------------------------------------------------------------------------


def products(items: list[dict[str, Any]], attributes: dict[str, Any]) -> Iterator[Product]:
    """The products of an items file; repeated and malformed ASINs are left out, as in WebShop."""
    seen = set()
    for item in items:
        asin = item["asin"]
        if asin == "nan" or len(asin) > 10 or asin in seen:
            continue
        seen.add(asin)
        price, tag = _price(asin, item.get("pricing") or "")
        features = item["small_description"]
        yield Product(
            asin=asin,
            title=item["name"],
            description=item["full_description"] or "",
            features=tuple(features) if isinstance(features, list) else (features or "",),
            price=price,
            price_tag=tag,
            options=dict(_options(item["customization_options"] or {})),
            attributes=tuple(attributes.get(asin, {}).get("attributes", ())),
            query=item["query"].lower().strip(),
            categories=frozenset(level.strip() for level in item["product_category"].split("›")),
        )


def _price(asin: str, pricing: str) -> tuple[float, str]:
    """(price, tag); of a range, a price within it that belongs to the ASIN. $100 where none is given."""
    bounds = [float(re.sub(r"[^\d.]", "", part)) for part in pricing.split("$")[1:3]] or [100.0]
    if len(bounds) == 1:
        return bounds[0], f"${bounds[0]}"
    return random.Random(asin).uniform(*bounds), f"${bounds[0]} to ${bounds[1]}"


def _options(choices: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, values in choices.items():
        if values is not None:
            yield name.lower(), tuple(each["value"].strip().replace("/", " | ").lower() for each in values)


def synthetic_goals(catalogue: Iterable[Product], attributes: dict[str, Any]) -> Iterator[Goal]:
    """One goal per product with an instruction and combination of its options, worded as WebShop words them."""
    for product in catalogue:
        asked = attributes.get(product.asin, {})
        if not asked.get("instruction"):
            continue
        limit, limit_text = _limit(product)
        names = sorted(product.options)
        for values in itertools.product(*(product.options[name] for name in names)):
            chosen = ", and ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))
            text = asked["instruction"] + (f" with {chosen}" if chosen else "") + limit_text
            yield Goal(product, text, tuple(asked["instruction_attributes"]), values, limit)


def human_goals(catalogue: Iterable[Product], instructions: dict[str, Any]) -> Iterator[Goal]:
    """The goals that people wrote (`items_human_ins.json`)."""
    for product in catalogue:
        for asked in instructions.get(product.asin, ()):
            if asked["instruction_attributes"]:
                limit, limit_text = _limit(product)
                text = asked["instruction"].strip(".") + limit_text
                options = tuple(asked["instruction_options"])
                yield Goal(product, text, tuple(asked["instruction_attributes"]), options, limit)


def _limit(product: Product) -> tuple[float, str]:
    """The larger of two of the next four multiples of $10 above the price."""
    above = [10.0 * i for i in range(1, 100) if 10.0 * i > product.price][:4]
    if len(above) < 2:
        return _NO_PRICE_LIMIT, ""
    limit = max(random.Random(f"limit {product.asin}").sample(above, 2))
    return limit, f", and price lower than {limit:.2f} dollars"


# ---- sources -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def generated(count: int, seed: int) -> Catalogue:
    items, attributes = generate.catalogue(count, seed)
    found = list(products(items, attributes))
    return Catalogue(found, list(synthetic_goals(found, attributes)))


@lru_cache(maxsize=2)
def official(folder: str, count: int | None) -> Catalogue:
    """WebShop's own files in a folder: `items_shuffle*.json`, `items_ins_v2*.json`, and people's goals if it has them.

    `count`: only the first so many products. Raises UserError if a file is missing.
    """
    root = Path(folder).expanduser()
    items = json.loads(_file(root, "items_shuffle").read_text())[:count]
    attributes = json.loads(_file(root, "items_ins_v2").read_text())
    found = list(products(items, attributes))
    people = root / "items_human_ins.json"
    if people.exists():
        return Catalogue(found, list(human_goals(found, json.loads(people.read_text()))))
    return Catalogue(found, list(synthetic_goals(found, attributes)))


def _file(root: Path, stem: str) -> Path:
    """The larger edition if both are there."""
    for name in (f"{stem}.json", f"{stem}_1000.json"):
        if (root / name).exists():
            return root / name
    raise UserError(
        f"env.kwargs.data: no {stem}.json or {stem}_1000.json in {str(root)!r}; leave data out to generate one"
    )
