"""What the draw of tasks adds to a result's chance. `_S` seeds, `_T` task sets, each score the mean over one set. Pure.

A score on some held-out tasks speaks of those tasks. Scores of S seeds on the same T independently drawn sets are
x_st = mean + seed_s + set_t + rest_st with both effects random (the crossed layout of Searle, Casella and McCulloch
1992, ch. 4), so an interval of the mean carries two errors: that of the seeds' means, sd / sqrt(S), and that of the
sets' means, sd / sqrt(T). What is left over, var(rest) / (S T), is counted in both: a little on the safe side. Each
error has its own degrees of freedom and its own critical value; half widths add up as the sides of a right angle
(see `procedures`), which is wider than Satterthwaite's single t by a third at three seeds, and a tenth at ten.

Differences of two arms are taken set by set first: both played the same tasks, so what a set does to both has
cancelled. How often such intervals hold the truth is measured in benchmarks/task_sets.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# With none of T tasks failing, the exact 95 % interval (Clopper and Pearson 1934) of the share that does reaches to
# 3.7 / T; a normal one with the variance of four failures, to 3.9 / T.
RARE = 4


@dataclass(frozen=True)
class TaskError:
    """Standard error of a mean that comes from the tasks. `sets`: on how many it was measured; infinite for a bound."""

    error: float
    sets: float

    def half_width(self, alpha: float) -> float:
        """Of the 1 - alpha interval that the tasks alone would give (Student's over sets)."""
        return float(stats.t.ppf(1 - alpha / 2, self.sets - 1)) * self.error if self.error else 0.0


def measured(scores_ST: ArrayLike) -> TaskError:
    """From scores on several sets. ValueError below two sets, without seeds, or with scores that are not finite.

    >>> found = measured([[0.5, 0.7], [0.6, 1.0]])  # means of the sets 0.55 and 0.85
    >>> round(found.error, 3), found.sets
    (0.15, 2)
    """
    x_ST = np.asarray(scores_ST, dtype=np.float64)
    if x_ST.ndim != 2 or len(x_ST) == 0 or x_ST.shape[1] < 2 or not np.isfinite(x_ST).all():
        raise ValueError(f"the chance of tasks needs finite scores of seeds on two sets or more, got {x_ST.tolist()}")
    mean_T = x_ST.mean(axis=0)
    return TaskError(float(mean_T.std(ddof=1)) / math.sqrt(len(mean_T)), len(mean_T))


def bounded(means: ArrayLike, tasks: float) -> TaskError:
    """From a single set of `tasks`: the most that tasks can do to a sum or difference of these mean shares.

    Outcomes of 0 to 1 with mean p vary by no more than p (1 - p) from task to task; models that were trained apart are
    taken to fail at different ones. A share that was seen at 0 or 1 is not known to be that: none counts as nearer to
    them than `RARE` tasks. ValueError outside 0 to 1.

    >>> [round(bounded(means, 512).error, 4) for means in ([0.6], [0.6, 0.8], [1.0])]
    [0.0217, 0.028, 0.0039]
    """
    p = np.asarray(means, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"shares of tasks lie between 0 and 1, got {p.tolist()}")
    edge = min(0.5, RARE / tasks)
    p = p.clip(edge, 1 - edge)
    return TaskError(math.sqrt(float((p * (1 - p)).sum()) / tasks), math.inf)
