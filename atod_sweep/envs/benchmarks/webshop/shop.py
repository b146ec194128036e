"""WebShop's pages and clicks: a session of one customer, in WebShop's text mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from atod_sweep.envs.benchmarks.webshop.catalogue import Catalogue, Goal, Product
from atod_sweep.envs.benchmarks.webshop.reward import Score, score

SEPARATOR = " [SEP] "
_PAGE_LENGTH = 10
BACK, PREVIOUS, NEXT, BUY = "back to search", "< prev", "next >", "buy now"
_LONGEST_COMMAND = 1000

Page = Literal["search", "results", "item", "description", "features", "reviews", "done"]
SUB_PAGES: tuple[Page, ...] = ("description", "features", "reviews")


class Command(NamedTuple):
    """`search[words]` or `click[what]`; `verb` is "" for any other text."""

    verb: str
    argument: str


def plain(text: str) -> str:
    """Lower-case words between single spaces, for small models; "|" stands for the separator."""
    return " ".join(re.findall(r"[^\W_]+(?:['.-][^\W_]+)*|\|", text.lower().replace("[sep]", "|")))


def read_command(text: str) -> Command:
    """A model's text as a command; `search words` and `click what` are understood without brackets too.

    A text longer than any command is none, so that a flood costs nothing.
    """
    if len(text) > _LONGEST_COMMAND:
        return Command("", "")
    match = re.match(r"\s*(search|click)\s*(?:\[(.*)\]|\s(.*))", text.lower(), re.DOTALL)
    if match is None:
        return Command("", "")
    return Command(match[1], (match[2] if match[2] is not None else match[3]).strip())


class Session:
    """A customer with a goal, at the search page. `score` is set by buying."""

    def __init__(self, catalogue: Catalogue, goal: Goal) -> None:
        self.catalogue = catalogue
        self.goal = goal
        self.page: Page = "search"
        self.score: Score | None = None
        self.product: Product | None = None
        self.options: dict[str, str] = {}
        self.results: tuple[Product, ...] = ()
        self.number = 1  # of the results page

    # ---- what is shown -------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The page's visible texts."""
        return SEPARATOR.join(self._texts())

    def clickables(self) -> list[str]:
        """What can be clicked, in lower case, as on the page."""
        if self.page == "results":
            pages = ([PREVIOUS] if self.number > 1 else []) + ([NEXT] if self._more() else [])
            return [BACK, *pages, *(product.asin.lower() for product in self.shown())]
        if self.page == "item" and self.product:
            values = [value for values in self.product.options.values() for value in values]
            return [BACK, PREVIOUS, *SUB_PAGES, BUY, *values]
        return [BACK, PREVIOUS] if self.page in SUB_PAGES else []

    def shown(self) -> tuple[Product, ...]:
        """The products on the results page."""
        return self.results[_PAGE_LENGTH * (self.number - 1) : _PAGE_LENGTH * self.number]

    def _more(self) -> bool:
        return len(self.results) > _PAGE_LENGTH * self.number

    def _texts(self) -> Iterator[str]:
        if self.page == "done" and self.score:
            yield from ("Thank you for shopping with us!", "Your score (min 0.0, max 1.0)", f"{self.score.total:.2f}")
            return
        if self.page == "search":
            yield from ("WebShop", "Instruction:", self.goal.instruction, "Search")
            return
        yield from ("Instruction:", self.goal.instruction, "Back to Search")
        if self.page == "results":
            yield f"Page {self.number} (Total results: {len(self.results)})"
            if self.number > 1:
                yield "< Prev"
            if self._more():
                yield "Next >"
            for product in self.shown():
                yield from (product.asin, product.title, product.price_tag)
            return
        yield "< Prev"
        if self.product:
            yield from _item(self.product) if self.page == "item" else _sub_page(self.product, self.page)

    # ---- what can be done ----------------------------------------------------------------------------------------

    def act(self, command: Command) -> bool:
        """Search, or click; False if that is not possible here and nothing happens."""
        if command.verb == "search" and command.argument:
            self.results = self.catalogue.search(command.argument)
            self._show_results(1)
            return True
        if command.verb != "click":
            return False
        wanted = plain(command.argument)
        target = next((each for each in self.clickables() if wanted and plain(each) == wanted), None)
        if target is not None:
            self._click(target)
        return target is not None

    def _show_results(self, number: int) -> None:
        self.page, self.number, self.product, self.options = "results", number, None, {}

    def _click(self, target: str) -> None:
        if target == BACK:
            self._show_results(1)
            self.page, self.results = "search", ()
        elif self.page == "results" and target in (PREVIOUS, NEXT):
            self._show_results(self.number + (1 if target == NEXT else -1))
        elif self.page == "results":
            self.page, self.product = "item", next(p for p in self.shown() if p.asin.lower() == target)
        elif target == PREVIOUS:
            if self.page == "item":
                self._show_results(self.number)
            else:
                self.page = "item"
        elif self.product and target == BUY:
            self.score = score(self.product, self.goal, self.options.values())
            self.page = "done"
        elif target in SUB_PAGES:
            self.page = next(page for page in SUB_PAGES if page == target)
        elif self.product:
            name = [name for name, values in self.product.options.items() if target in values][-1]
            self.options[name] = target


def _item(product: Product) -> Iterator[str]:
    for name, values in product.options.items():
        yield name
        yield from values
    yield from (product.title, f"Price: {product.price_tag}", "Rating: N.A.")
    yield from ("Description", "Features", "Reviews", "Buy Now")


def _sub_page(product: Product, page: Page) -> Iterator[str]:
    if page == "description":
        yield product.description or "No Description"
    elif page == "features":
        yield from product.features or ("No Features",)
    else:
        yield "No reviews found"
