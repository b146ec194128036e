"""A customer who knows the catalogue: the demonstrator."""

from __future__ import annotations

from functools import lru_cache

from atod_sweep.envs.benchmarks.webshop.catalogue import Goal, Product, tokens
from atod_sweep.envs.benchmarks.webshop.reward import best_options, score
from atod_sweep.envs.benchmarks.webshop.shop import BACK, BUY, NEXT, PREVIOUS, Session

_FILLERS = "a am an and are buy color find flavor for i in is like looking me need of size that the to want with"
_LONGEST_QUERY = 12


def query(instruction: str) -> str:
    """The content words of an instruction, but for the price."""
    words = tokens(instruction.split(", and price lower")[0])
    return " ".join([word for word in words if word not in _FILLERS.split()][:_LONGEST_QUERY])


def command(session: Session) -> tuple[str, str]:
    """(verb, argument) of the next step from any page: search, open the product that can earn most, choose, buy.

    It knows what each product would earn. It opens the first on the page that earns everything, pages on while none
    does, and settles for the best of all results where none can.
    """
    if session.page == "search":
        return "search", query(session.goal.instruction)
    if session.page == "results":
        return "click", _on_results(session)
    if session.page == "item" and session.product:
        return "click", _on_item(session, session.product)
    return "click", PREVIOUS


def _on_results(session: Session) -> str:
    target = _target(session)
    if target is None:
        return BACK
    if target in session.shown():
        return target.asin.lower()
    ahead = session.results.index(target) > session.results.index(session.shown()[0])
    return NEXT if ahead else PREVIOUS


def _on_item(session: Session, product: Product) -> str:
    target = _target(session)
    if target is not None and _worth(product, session.goal) < _worth(target, session.goal):
        return PREVIOUS
    for name, value in best_options(product, session.goal).items():
        if session.options.get(name) != value:
            return value
    return BUY


def _target(session: Session) -> Product | None:
    return max(session.results, key=lambda product: _worth(product, session.goal), default=None)


@lru_cache(maxsize=65536)
def _worth(product: Product, goal: Goal) -> float:
    """The most that buying a product can earn."""
    return score(product, goal, best_options(product, goal).values()).total
