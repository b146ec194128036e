"""A made-up catalogue in the files' format of WebShop, whose own data (scraped product pages) cannot be shipped."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class _Kind:
    """A sort of product. `words`: for titles; `group`: of attributes and options; `price`: lowest, highest, in $."""

    noun: str
    words: tuple[str, ...]
    category: str
    group: str
    price: tuple[int, int]


_KINDS = (
    _Kind("hiking boots", ("leather", "ankle", "trail", "sole"), "Clothing › Shoes › Outdoor", "wear", (35, 160)),
    _Kind("running shoes", ("mesh", "track", "marathon", "lace"), "Clothing › Shoes › Sport", "wear", (25, 130)),
    _Kind("dress shirt", ("cotton", "collar", "office", "button"), "Clothing › Tops › Shirts", "wear", (12, 60)),
    _Kind("hooded sweater", ("knit", "pocket", "zip", "winter"), "Clothing › Tops › Knitwear", "wear", (18, 80)),
    _Kind("rain jacket", ("shell", "storm", "hood", "belt"), "Clothing › Coats › Rain", "wear", (30, 150)),
    _Kind("wool socks", ("merino", "heel", "crew", "toe"), "Clothing › Underwear › Socks", "wear", (6, 25)),
    _Kind("floor lamp", ("shade", "dimmer", "brass", "bulb"), "Home › Lighting › Lamps", "home", (25, 140)),
    _Kind("book shelf", ("oak", "tier", "ladder", "bracket"), "Home › Furniture › Storage", "home", (30, 180)),
    _Kind("dining chair", ("seat", "beech", "kitchen", "backrest"), "Home › Furniture › Seating", "home", (35, 190)),
    _Kind("area rug", ("jute", "pile", "carpet", "weave"), "Home › Textiles › Rugs", "home", (20, 150)),
    _Kind("throw pillow", ("velvet", "cushion", "cover", "tassel"), "Home › Textiles › Pillows", "home", (8, 40)),
    _Kind(
        "wireless earbuds", ("bluetooth", "case", "mono", "bass"), "Electronics › Audio › Earbuds", "device", (15, 120)
    ),
    _Kind(
        "party speaker", ("stereo", "battery", "outdoor", "box"), "Electronics › Audio › Speakers", "device", (15, 110)
    ),
    _Kind("phone charger", ("cable", "wall", "socket", "adapter"), "Electronics › Power › Chargers", "device", (8, 45)),
    _Kind(
        "desk keyboard",
        ("switch", "keycap", "typing", "computer"),
        "Electronics › Office › Keyboards",
        "device",
        (14, 95),
    ),
    _Kind("herbal tea", ("leaf", "camomile", "infusion", "tin"), "Grocery › Drinks › Tea", "food", (4, 22)),
    _Kind("snack bars", ("oat", "date", "cereal", "breakfast"), "Grocery › Snacks › Bars", "food", (5, 28)),
    _Kind("roasted nuts", ("almond", "cashew", "pecan", "bag"), "Grocery › Snacks › Nuts", "food", (6, 30)),
    _Kind("face cream", ("serum", "jar", "moisture", "night"), "Beauty › Skin › Face", "beauty", (7, 55)),
    _Kind("hair conditioner", ("argan", "bottle", "shower", "curl"), "Beauty › Hair › Care", "beauty", (6, 35)),
)
_ATTRIBUTES = {
    "wear": ("machine washable", "quick drying", "water resistant", "slim fit", "non slip", "breathable", "lined"),
    "home": (
        "easy to clean",
        "self assembled",
        "space saving",
        "solid wood",
        "stain proof",
        "foldable",
        "eco friendly",
    ),
    "device": (
        "fast charging",
        "noise cancelling",
        "long lasting",
        "dust proof",
        "hands free",
        "light",
        "plug and play",
    ),
    "food": ("gluten free", "sugar free", "low sodium", "dairy free", "organic", "non gmo", "high protein"),
    "beauty": ("cruelty free", "fragrance free", "paraben free", "oil free", "vegan", "anti aging", "soothing"),
}
_COLORS = ("black", "white", "grey", "red", "blue", "green", "yellow", "brown", "pink", "purple", "orange", "beige")
_FLAVORS = ("lemon", "mint", "honey", "ginger", "vanilla", "cocoa", "apple", "peach")
_OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "wear": {"color": _COLORS, "size": ("xs", "s", "m", "l", "xl", "xxl")},
    "home": {"color": _COLORS, "style": ("classic", "modern", "rustic", "nordic")},
    "device": {"color": _COLORS, "pack": ("single", "double", "family")},
    "food": {"flavor": _FLAVORS, "pack": ("single", "double", "family")},
    "beauty": {"scent": ("none", "lavender", "rose", "citrus", "coconut"), "bottle": ("travel", "regular", "jumbo")},
}
_BRANDS = ("arvena", "belmo", "cordis", "dunva", "elmira", "fennik", "gardo", "halvar", "ilmari", "jorva", "kestrel")
_ASKING = ("i am looking for {wishes} {noun}", "i need {noun}, {wishes}", "find me {noun}, {wishes}")


def catalogue(count: int, seed: int) -> tuple[list[Json], dict[str, Json]]:
    """(items, attributes) as `items_shuffle.json` and `items_ins_v2.json` hold them: `count` products of a seed."""
    rng = random.Random(f"webshop {seed}")
    items: list[Json] = []
    attributes: dict[str, Json] = {}
    while len(items) < count:
        asin = "B0" + "".join(rng.choices(string.ascii_uppercase + string.digits, k=8))
        if asin in attributes:
            continue
        kind = rng.choice(_KINDS)
        has = rng.sample(_ATTRIBUTES[kind.group], rng.randint(2, 4))
        items.append(_item(asin, kind, has, rng))
        wishes = rng.sample(has, rng.randint(1, 2))
        sentence = rng.choice(_ASKING).format(noun=kind.noun, wishes=" and ".join(wishes))
        attributes[asin] = {"attributes": has, "instruction": sentence, "instruction_attributes": wishes}
    return items, attributes


def _item(asin: str, kind: _Kind, has: list[str], rng: random.Random) -> Json:
    brand = rng.choice(_BRANDS)
    low, high = kind.price
    price = f"${rng.randint(low, high)}.{rng.choice(('49', '99'))}"
    if rng.random() < 0.1:
        price += f"${high + rng.randint(5, 30)}.99"
    options = {
        name: [{"value": value, "image": None} for value in rng.sample(values, rng.randint(2, min(4, len(values))))]
        for name, values in _OPTIONS[kind.group].items()
        if rng.random() < 0.8
    }
    shown = has[:-1] if len(has) > 2 else has  # one wish may have to be read on the features page
    return {
        "asin": asin,
        "name": f"{' '.join(rng.sample(kind.words, 2))} {kind.noun}, {', '.join(shown)}",
        "full_description": f"{kind.noun} by {brand} for every day, at a fair price.",
        "small_description": [f"these {kind.noun} are {attribute}" for attribute in has],
        "pricing": price,
        "customization_options": options,
        "images": [""],
        "query": kind.noun,
        "category": kind.category.split(" › ")[0].lower(),
        "product_category": kind.category,
    }
