"""WebShop's files: products and goals, record by record."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from atod_sweep.envs.benchmarks.records import Account, Unusable, quote, read_json
from atod_sweep.envs.benchmarks.webshop import fields, generate
from atod_sweep.envs.benchmarks.webshop.catalogue import Catalogue, Goal, Product
from atod_sweep.errors import UserError
from atod_sweep.paths import expanded

Known = Mapping[str, list[Any]]  # the records of each ASIN
_NO_PRICE = 100.0  # what WebShop takes for the price of a product that has none
_NO_PRICE_LIMIT = 1e6
_COMBINATIONS = 10_000  # goals that one product may have


def products(items: Iterable[Any], attributes: Known, account: Account) -> Iterator[Product]:
    """The products of an items file; as in WebShop, of repeated ASINs the first counts and long ones are left out."""
    seen: set[str] = set()
    for i, item in enumerate(items):
        account.count()
        name = f"record {i}"
        try:
            if not isinstance(item, Mapping):
                raise Unusable(quote(item))
            asin = fields.needed(item, "asin")
            if asin == "nan" or len(asin) > 10:
                raise Unusable(f"asin {quote(asin)}")
            name = asin
            if asin in seen:
                raise Unusable("asin there before")
            yield _product(asin, item, next(iter(attributes.get(asin, ())), None), account)
            seen.add(asin)
        except Unusable as why:
            account.leave_out(name, why)


def _product(asin: str, item: Mapping[str, Any], more: Any, account: Account) -> Product:
    found = Product(
        asin=asin,
        title=fields.needed(item, "name"),
        description=fields.text(item, "full_description"),
        features=fields.texts(item, "small_description"),
        price=_NO_PRICE,
        price_tag=f"${_NO_PRICE}",
        options=dict(fields.options(item)),
        attributes=fields.texts(more, "attributes") if isinstance(more, Mapping) else (),
        query=fields.text(item, "query").lower().strip(),
        categories=frozenset(filter(None, map(str.strip, fields.text(item, "product_category").split("›")))),
    )
    return _priced(found, item.get("pricing"), account)


def _priced(product: Product, pricing: Any, account: Account) -> Product:
    """The product with its price; of a range, a price within it that belongs to the ASIN."""
    bounds = fields.prices(pricing)
    if not bounds:
        if pricing and not fields.is_missing(pricing):
            account.change(product.asin, f"pricing {quote(pricing)} as ${_NO_PRICE:g}")
        return product
    if len(bounds) == 1:
        return replace(product, price=bounds[0], price_tag=f"${bounds[0]}")
    price = random.Random(product.asin).uniform(*bounds)
    return replace(product, price=price, price_tag=f"${bounds[0]} to ${bounds[1]}")


def synthetic_goals(catalogue: Iterable[Product], attributes: Known, account: Account) -> Iterator[Goal]:
    """One goal per product with an instruction and combination of its options, worded as WebShop words them."""
    for product in catalogue:
        asked = next(iter(attributes.get(product.asin, ())), None)
        if not isinstance(asked, Mapping) or fields.is_missing(asked.get("instruction")):
            continue
        account.count()
        try:
            instruction, wanted = fields.needed(asked, "instruction"), _wanted(asked)
            if (many := math.prod(map(len, product.options.values()))) > _COMBINATIONS:
                raise Unusable(f"{many:,} combinations of options")
        except Unusable as why:
            account.leave_out(product.asin, why)
            continue
        limit, limit_text = _limit(product)
        names = sorted(product.options)
        for values in itertools.product(*(product.options[name] for name in names)):
            chosen = ", and ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))
            text = instruction + (f" with {chosen}" if chosen else "") + limit_text
            yield Goal(product, text, wanted, values, limit)


def human_goals(catalogue: Iterable[Product], instructions: Known, account: Account) -> Iterator[Goal]:
    """The goals that people wrote (`items_human_ins.json`)."""
    for product in catalogue:
        for asked in instructions.get(product.asin, ()):
            account.count()
            try:
                if not isinstance(asked, Mapping):
                    raise Unusable(quote(asked))
                if asked.get("instruction_attributes") == []:
                    continue  # as WebShop does
                limit, limit_text = _limit(product)
                text = fields.needed(asked, "instruction").strip(".") + limit_text
                yield Goal(product, text, _wanted(asked), fields.wishes(asked), limit)
            except Unusable as why:
                account.leave_out(product.asin, why)


def _wanted(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """The attributes that a goal asks for: there must be some, or nothing could be scored."""
    if found := fields.texts(asked, "instruction_attributes"):
        return found
    raise Unusable(f"instruction_attributes {quote(asked.get('instruction_attributes'))}")


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
    items, known = generate.catalogue(count, seed)
    attributes = {asin: [record] for asin, record in known.items()}
    account = Account("generated", "records")
    found = list(products(items, attributes, account))
    return Catalogue(found, list(synthetic_goals(found, attributes, account)))


@lru_cache(maxsize=2)
def official(folder: str, count: int | None) -> Catalogue:
    """WebShop's own files in a folder: `items_shuffle*.json`, `items_ins_v2*.json`, and people's goals if it has them.

    `count`: only the first so many products. Raises UserError if a file is missing or none of its records can be used.
    """
    root = expanded(folder)
    source, asked = _file(root, "items_shuffle"), _file(root, "items_ins_v2")
    attributes, people = _by_asin(asked), root / "items_human_ins.json"
    sold = Account(source.name, "products")
    found = list(products(_records(source)[:count], attributes, sold))
    if not found:
        raise UserError(f"{source}: no product can be read; {' '.join(sold.lines())}".rstrip("; "))
    wanted = Account((people if people.exists() else asked).name, "goals")
    if people.exists():
        goals = human_goals(found, _by_asin(people), wanted)
    else:
        goals = synthetic_goals(found, attributes, wanted)
    return Catalogue(found, list(goals), (*sold.lines(), *wanted.lines()))


def _records(path: Path) -> list[Any]:
    """A list of records, also of a mapping from ASIN to record, and of a single one."""
    data = read_json(path)
    if isinstance(data, Mapping) and "asin" in data:
        return [data]
    if isinstance(data, Mapping):
        return [{"asin": asin, **item} if isinstance(item, Mapping) else item for asin, item in data.items()]
    if isinstance(data, list):
        return data
    raise UserError(f"{path}: holds {quote(data)}; expected a list of products")


def _by_asin(path: Path) -> dict[str, list[Any]]:
    """The records of each ASIN, from a mapping of ASIN to one or a list of them, or from a list of either."""
    data = read_json(path)
    found: dict[str, list[Any]] = {}
    for part in data if isinstance(data, list) else [data]:
        if not isinstance(part, Mapping):
            raise UserError(f"{path}: holds {quote(part)}; expected a mapping from ASIN to record")
        for asin, records in {str(part["asin"]): part}.items() if "asin" in part else part.items():
            found.setdefault(asin, []).extend(records if isinstance(records, list) else [records])
    return found


def _file(root: Path, stem: str) -> Path:
    """The larger edition if both are there."""
    for name in (f"{stem}.json", f"{stem}_1000.json"):
        if (root / name).exists():
            return root / name
    raise UserError(
        f"env.kwargs.data: no {stem}.json or {stem}_1000.json in {str(root)!r}; leave data out to generate one"
    )
