"""WebShop's products and goals, searched and shared by all episodes."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from atod_sweep.envs.benchmarks.optional import optional
from atod_sweep.envs.contract import Split
from atod_sweep.errors import UserError

HITS = 50  # products that a search finds at most
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
    """Products by ASIN, goals by split, and a BM25 index. Read only.

    `remarks`: what a user should know of the files that it was read from.
    """

    def __init__(self, products: Iterable[Product], goals: list[Goal], remarks: tuple[str, ...] = ()) -> None:
        self.remarks = remarks
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
        library = optional("bm25s", "env.id: 'webshop'", 'pip install "atod-sweep[webshop]"')
        self._asins = list(self.products)
        self._index = library.BM25(k1=0.9, b=0.4)  # pyserini's defaults, which WebShop uses
        self._index.index([tokens(_document(p)) for p in self.products.values()], show_progress=False)

    @lru_cache(maxsize=4096)  # noqa: B019  (a process has few catalogues, and keeps them)
    def search(self, words: str) -> tuple[Product, ...]:
        """The best matches, best first; none if no word is in the catalogue."""
        if not (asked := tokens(words)):
            return ()
        scores = self._index.get_scores(asked)
        best = np.argsort(-scores, kind="stable")[:HITS]
        return tuple(self.products[self._asins[i]] for i in best if scores[i] > 0)


def tokens(text: str) -> list[str]:
    """Lower-case words, unstemmed."""
    return re.findall(r"[^\W_]+", text.lower())


def _document(product: Product) -> str:
    """What is searched: title, description, first feature, options, as in WebShop's index."""
    options = " ".join(f"{name} {' '.join(values)}" for name, values in product.options.items())
    return " ".join([product.title, product.description, *product.features[:1], options])
