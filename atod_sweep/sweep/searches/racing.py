"""Racing over seeds: a configuration earns its next seed while it may still be best.

Everything follows from the scores alone, so a search that resumes allots as it would have. `Scores`: of every
configuration its scores on seeds 0, 1, ... as far as it has come, large ones good, in the order in which they entered.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist, fmean, stdev

Scores = Mapping[str, Sequence[float]]


def ranked(scores: Scores) -> list[str]:
    """Best first, by the mean less its standard error: one lucky seed does not lead."""
    spread = _spread(scores)
    return sorted(scores, key=lambda name: spread / math.sqrt(len(scores[name])) - fmean(scores[name]))


def earner(scores: Scores, most: int, level: float, under_way: Collection[str] = ()) -> str | None:
    """The configuration that gets its next seed; None if nobody has earned one, so that a new one may enter.

    The leader comes first, until it has as many as anybody: challengers are compared with it. Then those that may still
    be best, as they entered. Nobody gets more than `most` seeds, or one while its last is `under_way`. `level`: of the
    interval, 0 to 1.
    """
    if not scores:
        return None
    leader = ranked(scores)[0]
    if len(scores[leader]) < max(map(len, scores.values())):
        return leader if leader not in under_way else None
    reach = NormalDist().inv_cdf((1 + level) / 2) * _spread(scores)
    for name in scores:
        if name != leader and len(scores[name]) < most and name not in under_way:
            n = min(len(scores[name]), len(scores[leader]))
            behind = fmean(scores[leader][:n]) - fmean(scores[name][:n])
            if behind <= reach * math.sqrt(2 / n):
                return name
    return None


def _spread(scores: Scores) -> float:
    """Pooled sd of one configuration's seeds around its mean; before any has two, of the scores at hand."""
    several = [own for own in scores.values() if len(own) > 1]
    if several:
        squares = sum((score - fmean(own)) ** 2 for own in several for score in own)
        return math.sqrt(squares / sum(len(own) - 1 for own in several))
    return stdev(own[0] for own in scores.values()) if len(scores) > 1 else 0.0
