"""WebShop's reward (Yao et al. 2022, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from atod_sweep.envs.benchmarks.optional import optional
from atod_sweep.envs.benchmarks.webshop.catalogue import Goal, Product, tokens

_SAME = 85  # token set ratio above which two phrases are the same
_COLORS = """black white grey gray silver red blue navy green yellow gold brown pink purple violet lavender orange beige
ivory cream teal khaki olive maroon"""
# Words that name no sort of product. WebShop has a tagger find the nouns of a title instead.
_NO_NOUNS = """a all an and are as at by each easy for free from high in inch is it light long low new no non not of on
or our pack per set size that the this to up with without you your"""


class Score(NamedTuple):
    """`total` = `kind` * (attributes + options + price) / (number of all three), each from 0 to 1."""

    total: float
    kind: float
    attributes: float
    options: float
    price: float


def score(product: Product, goal: Goal, options: Iterable[str]) -> Score:
    """What buying a product with the chosen option values earns.

    r = r_type * (|U_att & Y_att| + |U_opt & Y_opt| + 1[y_price <= u_price]) / (|U_att| + |U_opt| + 1)
    """
    chosen = list(options)
    kind = _kind(product, goal.product)
    matched = sum(_has(product, attribute) for attribute in goal.attributes)
    granted = sum(any(_same(_color(c), _color(wish)) for c in chosen) for wish in goal.options)
    cheap = product.price <= goal.price
    total = kind * (matched + granted + cheap) / (len(goal.attributes) + len(goal.options) + 1)
    return Score(
        total, kind, matched / len(goal.attributes), granted / len(goal.options) if goal.options else 1.0, float(cheap)
    )


def best_options(product: Product, goal: Goal) -> dict[str, str]:
    """Option name -> value of a product that a goal asks for."""
    wanted: dict[str, str] = {}
    for name, values in product.options.items():
        for wish in goal.options:
            for value in values:
                if _same(_color(value), _color(wish)) and (name not in wanted or value == wish):
                    wanted[name] = value
    return wanted


def _kind(bought: Product, wanted: Product) -> float:
    """r_type: whether the bought product is of the wanted sort, by query, category and the nouns of the titles."""
    nouns, others = _nouns(wanted), set(_nouns(bought))
    overlap = len(others & set(nouns)) / len(nouns) if nouns else 0.2
    if overlap == 0:
        return 0.0
    if overlap < 0.1:
        return 0.1
    related = bought.query == wanted.query != "" or len(bought.categories & wanted.categories) >= 2
    return 1.0 if related or overlap > 0.2 else 0.5


@cache
def _nouns(product: Product) -> tuple[str, ...]:
    others = {*_NO_NOUNS.split(), *(word for attribute in product.attributes for word in tokens(attribute))}
    return tuple(word for word in tokens(product.title) if word not in others and not word.isdigit())


@lru_cache(maxsize=65536)
def _has(product: Product, attribute: str) -> bool:
    if any(_same(own, attribute) for own in product.attributes):
        return True
    return any(attribute in text for text in product.texts)


@lru_cache(maxsize=65536)
def _color(value: str) -> str:
    """The first colour named in an option value, else the value."""
    return next((color for color in _COLORS.split() if color in value), value)


@lru_cache(maxsize=65536)
def _same(one: str, other: str) -> bool:
    fuzz = optional("rapidfuzz.fuzz", "env.id: 'webshop'", 'pip install "atod-sweep[webshop]"')
    process = optional("rapidfuzz.utils", "env.id: 'webshop'", 'pip install "atod-sweep[webshop]"').default_process
    return bool(fuzz.token_set_ratio(one, other, processor=process) > _SAME)
