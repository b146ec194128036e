"""What the law of this run's scores does to Student's intervals: how often they hold the truth under such a law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atod_sweep.evidence.analysis.claim_data import Collapses, collapses
from atod_sweep.evidence.analysis.comparisons import summarise
from atod_sweep.evidence.analysis.results import Levels, Results
from atod_sweep.evidence.stats.skewness import beyond_doubt, coverage, coverage_of_collapse

LEAST = 0.92  # coverage from which nothing needs to be said


@dataclass(frozen=True)
class CollapseLaw:
    """An arm some of whose seeds ended `drop` below its others, which have the sd `spread`; `held`: coverage."""

    collapses: Collapses
    drop: float
    spread: float
    held: float


@dataclass(frozen=True)
class SkewLaw:
    """Scores that lean to one side without any collapse, over all arms; `held`: coverage from `n` seeds."""

    skewness: float
    n: int
    held: float


def collapse_law(results: Results) -> CollapseLaw | None:
    """The arm whose collapses do the most harm to an interval of its mean; None if none do."""
    found = [
        law for levels in results.conditions for arm in results.arms if (law := _collapse_law(results, arm, levels))
    ]
    worst = min(found, key=lambda law: law.held, default=None)
    return worst if worst and worst.held < LEAST else None


def _collapse_law(results: Results, arm: str, levels: Levels) -> CollapseLaw | None:
    """None without collapses, and without two other seeds to tell them from."""
    bad, scores = collapses(results, arm, levels), summarise(results, arm, levels).scores
    low = [score for seed, score in scores.items() if seed in bad.seeds]
    rest = [score for seed, score in scores.items() if seed not in bad.seeds]
    if not low or len(rest) < 2:
        return None
    drop, spread = float(np.mean(rest) - np.mean(low)), float(np.std(rest, ddof=1))
    return CollapseLaw(bad, drop, spread, coverage_of_collapse(len(low) / len(scores), drop, spread, len(scores)))


def skew_law(results: Results, cells: list[list[float]]) -> SkewLaw | None:
    """The law of all arms' noise together (`cells`: scores without collapses), if it leans and does harm."""
    skewness, whole = beyond_doubt(cells), [cell for cell in cells if len(cell) > 1]
    if not skewness:
        return None
    n = min(len(cell) for cell in whole)
    # A cell's residuals are too small by the mean that was taken from them.
    noise = np.concatenate([(np.array(c) - np.mean(c)) * np.sqrt(len(c) / (len(c) - 1)) for c in whole])
    held = coverage(noise, n)
    return SkewLaw(skewness, n, held) if held < LEAST else None
