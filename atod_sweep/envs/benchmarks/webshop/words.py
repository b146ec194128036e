"""All words of a catalogue's pages and commands."""

from __future__ import annotations

from collections.abc import Iterator

from atod_sweep.envs.benchmarks.webshop.buyer import query
from atod_sweep.envs.benchmarks.webshop.catalogue import HITS, Catalogue
from atod_sweep.envs.benchmarks.webshop.reward import Score
from atod_sweep.envs.benchmarks.webshop.shop import SUB_PAGES, Session, plain


def vocabulary(catalogue: Catalogue, natural: bool) -> list[str]:
    """Every word that pages and the demonstrator's commands can hold, split at white space. Sorted."""
    words: set[str] = set()
    for text in _texts(catalogue, natural):
        words.update((text if natural else plain(text)).split())
    return sorted(words)


def _texts(catalogue: Catalogue, natural: bool) -> Iterator[str]:
    goals = [goal for part in catalogue.goals.values() for goal in part]
    for goal in goals:
        yield goal.instruction
        yield f"search[{query(goal.instruction)}]" if natural else "search"
    session = Session(catalogue, goals[0])
    yield session.text()
    for session.product in catalogue.products.values():
        session.results = (session.product,)
        for session.page in ("results", "item", *SUB_PAGES):
            yield from _page(session, natural)
    session.page = "results"
    everything = tuple(catalogue.products.values())
    for hits in range(HITS + 1):
        session.results = everything[:hits]
        for session.number in range(1, hits // 10 + 2):
            yield from _page(session, natural)
    session.page = "done"
    for cents in range(101):
        session.score = Score(cents / 100, 1, 1, 1, 1)
        yield session.text()


def _page(session: Session, natural: bool) -> Iterator[str]:
    yield session.text()
    for target in session.clickables():
        yield f"click[{target}]" if natural else f"click {target}"
