"""The Pareto front of a search with two objectives, from the rows of its ledger."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atod_sweep.config.search import Objective, layers

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A configuration: its means over `seeds` in the units of the two objectives, and whether none beats it in both."""

    arm: str
    values: tuple[float, float]
    seeds: int
    on_front: bool


@dataclass(frozen=True)
class Front:
    """What a search with two objectives found.

    `searched`: every configuration whose seeds all completed, on the seeds that the search chose by (optimistic).
    `confirmed`: the chosen ones and the reference, on fresh seeds; a configuration with a failed seed is left out.
    """

    objectives: tuple[Objective, Objective]
    searched: tuple[Point, ...]
    confirmed: tuple[Point, ...]


def front(rows: Sequence[Row]) -> Front | None:
    """The front of the search in a ledger; None if it is no search, or one with a single objective."""
    study = next((row for row in reversed(rows) if row["event"] == "study"), {})
    search = study.get("search", {})
    if not search.get("second"):
        return None
    first, second = (Objective.model_validate(search[key]) for key in ("metric", "second"))
    told = {r["arm"]: r["values"] for r in rows if r["event"] == "told" and r["state"] == "COMPLETE"}
    last = {(r["arm"], r["seed"]): r for r in rows if r["event"] == "trial" and r.get("phase") == "confirm"}
    confirmed = {}
    for arm in study["arms"]:
        scores = [_values(last.get((arm, seed))) for seed in study["seeds"]]
        whole = [score for score in scores if score is not None]
        if len(whole) == len(scores):
            confirmed[arm] = [statistics.fmean(column) for column in zip(*whole, strict=True)]
    seeds = search["budget"]["seeds"]
    return Front(
        (first, second),
        _points(told, seeds, (first, second)),
        _points(confirmed, len(study["seeds"]), (first, second)),
    )


def _values(row: Row | None) -> tuple[float, float] | None:
    if row is None or row["state"] != "COMPLETE" or row.get("score") is None or row.get("second") is None:
        return None
    return row["score"], row["second"]


def _points(means: dict[str, list[float]], seeds: int, objectives: tuple[Objective, Objective]) -> tuple[Point, ...]:
    """In the order of the arms; `seeds` per arm."""
    good = {arm: [o.sign * v for o, v in zip(objectives, values, strict=True)] for arm, values in means.items()}
    rank = layers(good)
    return tuple(Point(arm, (values[0], values[1]), seeds, rank[arm] == 0) for arm, values in means.items())
