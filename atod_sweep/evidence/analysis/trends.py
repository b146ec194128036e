"""How the score moves with each parameter of a search, on draws that no result had a hand in.

Importance (`analysis.importance`) tells what sets the best apart; a parameter on which the sampler has settled early
reads as unimportant there. Rank correlation and slices show it, and they have honest intervals on those configurations
alone that were drawn before the sampler looked at any result: all of a random, grid or QMC search, the startup of TPE.
Starting points that somebody chose are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atod_sweep.config.domains import Fixed
from atod_sweep.config.search import Objective
from atod_sweep.config.space import parse_parameters
from atod_sweep.evidence.analysis.text import MINUS
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.procedures import STUDENT
from atod_sweep.evidence.stats.ranks import spearman

Row = Mapping[str, Any]
SLICE = 4  # configurations in a slice of a range at least


@dataclass(frozen=True)
class Slice:
    """Configurations with one value, or with values in one part of the range: their mean score."""

    values: str
    score: Interval


@dataclass(frozen=True)
class Trend:
    """A parameter's rank correlation with the score, in units of better: above 0, larger values did better.

    `unseen`: on draws that no result had a hand in; `all`: over all of them, without limits, since the sampler went
    where it was good. Both NaN for parameters that are words. `slices`: of the former draws.
    """

    parameter: str
    unseen: Interval
    all: Interval
    slices: tuple[Slice, ...]


def trends(rows: Sequence[Row], second: bool = False) -> list[Trend]:
    """The trend of every parameter of the search in a ledger for its objective, or the second; none without a search.

    Those that were stopped early for being worse count as worse than all others in the correlations for the objective:
    without them the rest would be a choice by the very score. They have no mean, and nothing of the second objective.
    """
    study = next((row for row in reversed(rows) if row["event"] == "study"), {})
    search = study.get("search", {})
    wanted = "second" if second else "metric"
    if not search.get(wanted):
        return []
    sign = Objective.model_validate(search[wanted]).sign
    drawn = {row["arm"]: row for row in rows if row["event"] == "configuration"}
    last = {row["arm"]: row for row in rows if row["event"] == "told"}
    ranked = ("COMPLETE",) if second else ("COMPLETE", "PRUNED")
    told = {
        arm: row["values"][second] if row["state"] == "COMPLETE" else None
        for arm, row in last.items()
        if row["state"] in ranked
    }
    unseen = {arm for i, arm in enumerate(drawn) if is_unseen(search, drawn[arm].get("number", i))}
    parameters = parse_parameters(search["parameters"], "parameters")
    keys = [p.key for p in parameters if not all(isinstance(branch.domain, Fixed) for branch in p.branches)]
    return [
        _trend(key, [(values[key], told[a], a in unseen) for a in told if key in (values := drawn[a]["values"])], sign)
        for key in keys
    ]


def is_unseen(search: Row, number: int) -> bool:
    """Whether the configuration of this number was drawn at random (or laid out) before the sampler saw any result."""
    if number < len(search.get("start_from", [])):
        return False
    sampler = search.get("sampler", {"kind": "random"})
    return sampler["kind"] != "tpe" or number < sampler["startup"]


def _trend(key: str, found: list[tuple[Any, float | None, bool]], sign: float) -> Trend:
    """`found`: value, score (None: stopped early), unseen of every configuration that has the parameter."""
    honest = [(value, score) for value, score, unseen in found if unseen and score is not None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value, _, _ in found):
        nothing = Interval(math.nan, math.nan, math.nan, 0)
        words = dict.fromkeys(str(value) for value, _, _ in found)
        return Trend(key, nothing, nothing, _slices({w: [s for value, s in honest if str(value) == w] for w in words}))
    last = min((sign * score for _, score, _ in found if score is not None), default=0.0) - 1
    ranked = [(value, last if score is None else sign * score, unseen) for value, score, unseen in found]
    unseen = spearman(
        [value for value, _, unseen in ranked if unseen], [score for _, score, unseen in ranked if unseen]
    )
    every = spearman([value for value, _, _ in ranked], [score for _, score, _ in ranked])
    whole = Interval(every.estimate, math.nan, math.nan, every.n)
    return Trend(key, unseen, whole, _slices(_parts(honest)))


def _parts(found: list[tuple[float, float]]) -> dict[str, list[float]]:
    """Scores of the lower, (middle) and upper part of the values, equal in number; empty from too few to divide."""
    parts = min(3, len(found) // SLICE)
    if parts < 2:
        return {}
    ordered = sorted(found)
    cuts = [[ordered[i] for i in chunk] for chunk in np.array_split(np.arange(len(ordered)), parts)]
    return {f"{c[0][0]:.3g} to {c[-1][0]:.3g}".replace("-", MINUS): [score for _, score in c] for c in cuts}


def _slices(groups: dict[str, list[float]]) -> tuple[Slice, ...]:
    return tuple(Slice(values, STUDENT.interval(scores)) for values, scores in groups.items() if scores)
