"""The one number that a trial is judged by: for the recorder that files it, and the evidence that reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from atod_sweep.records.metric_names import EVALUATED


def score(
    name: str, last: int, totals: Mapping[str, float], rows: Sequence[Mapping[str, Any]], trained: bool = True
) -> float | None:
    """The mean of the metric `name` over its `last` newest rows; None if fewer have it, or if it is not finite.

    `totals`: final metrics and total costs under their names in rows (`eval/success`, `cost/env_steps`); they settle
    what needs one value only. `rows`: the trial's metric rows in order; numbers of evaluations are read from these
    alone, others (a KL, a cost) from any row. A trial that was not `trained` (a teacher) was evaluated once, and that
    counts, whatever `last`.

    >>> rows = [{"phase": "eval", "step": s, "eval/success": x} for s, x in ((0, 0.1), (10, 0.4), (20, 0.6))]
    >>> score("eval/success", 2, {}, rows), score("eval/success", 4, {}, rows), score("eval/success", 1, {}, rows)
    (0.5, None, 0.6)
    """
    if not trained or (last == 1 and name in totals):
        found = [totals[name]] if name in totals else []
        last = 1
    else:
        evaluation = name.startswith(EVALUATED)
        found = [row[name] for row in rows if name in row and (row["phase"] == "eval" or not evaluation)][-last:]
    mean = math.fsum(found) / last if len(found) == last and all(isinstance(x, int | float) for x in found) else None
    return mean if mean is not None and math.isfinite(mean) else None
