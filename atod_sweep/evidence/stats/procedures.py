"""A test of a mean difference and the interval that belongs to it, as one record. `_N` seeds. Pure.

Verdict, interval and p of a claim come from the same procedure, so that they cannot contradict each other: the interval
at level 1 - alpha leaves out exactly those means whose p is below alpha. Both procedures know the data through
t = (mean - m) / error alone, with error = max(sample sd, floor) / sqrt(N). The floor is what a score can resolve at
all (`resolution`): equal differences on two or three seeds are no proof of a spread of zero.

Where a result also depends on which tasks were drawn (`task_sets`), the half width over seeds and the half width over
tasks add up as sqrt(seeds² + tasks²), at every level, and p is the level at which that reaches the mean in question.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atod_sweep.evidence.stats import sequential
from atod_sweep.evidence.stats.intervals import Array, Interval, as_scores
from atod_sweep.evidence.stats.task_sets import TaskError

FEWEST = 3  # seeds below which nothing is decided


@dataclass(frozen=True)
class Procedure:
    """`critical(n, alpha)`: half width of the 1 - alpha interval in standard errors; `p_of(t, n)`: two-sided p of t."""

    name: str
    critical: Callable[[int, float], float]
    p_of: Callable[[float, int], float]
    anytime: bool = False  # holds however often one looks
    tasks: TaskError | None = None  # the other source of chance, beside seeds

    def over_tasks(self, tasks: TaskError | None) -> Procedure:
        """The same procedure for a result that depends on the draw of tasks as well; None: it does not."""
        return self if tasks is None else replace(self, name=f"{self.name} over seeds and tasks", tasks=tasks)

    def interval(self, values_N: ArrayLike, level: float = 0.95, floor: float = 0.0) -> Interval:
        """Of the mean: NaN limits below two values, infinite ones where no mean can be left out yet.

        Values without any spread, and no floor to put in its place, have only their number to tell: their interval is
        infinite until `p` would reject, and a point from then on.
        """
        x_N = as_scores(values_N)
        n = len(x_N)
        if n < 2:
            return Interval(float(x_N[0]) if n else math.nan, math.nan, math.nan, n, level)
        mean, half = float(x_N.mean()), self.half_width(x_N, 1 - level, floor)
        return Interval(mean, mean - half, mean + half, n, level)

    def half_width(self, x_N: Array, alpha: float, floor: float = 0.0) -> float:
        """Half length of the 1 - alpha interval; NaN below two values."""
        error = standard_error(x_N, floor)
        if error == 0:
            seeds = 0.0 if self._p_over_seeds(x_N, float(x_N.mean()) - 1, floor) < alpha else math.inf
        else:
            seeds = self.critical(len(x_N), alpha) * error
        return math.hypot(seeds, self.tasks.half_width(alpha)) if self.tasks else seeds

    def p(self, values_N: ArrayLike, mean: float = 0.0, floor: float = 0.0) -> float:
        """Two-sided p of a mean; NaN below two values.

        Without spread and floor, no less than that of the sign test: 2^(1-N), as N equal signs have by chance.
        """
        x_N = as_scores(values_N)
        if len(x_N) < 2:
            return math.nan
        if self.tasks is None:
            return self._p_over_seeds(x_N, mean, floor)
        away = abs(float(x_N.mean()) - mean)
        low, high = -16.0, 0.0  # powers of ten: the half width falls as alpha rises
        while high - low > 1e-9:
            middle = (low + high) / 2
            low, high = (middle, high) if self.half_width(x_N, 10**middle, floor) > away else (low, middle)
        return float(10**high)

    def _p_over_seeds(self, x_N: Array, mean: float, floor: float) -> float:
        n, away, error = len(x_N), float(x_N.mean()) - mean, standard_error(x_N, floor)
        if error > 0:
            return self.p_of(away / error, n)
        return 1.0 if abs(away) <= _rounding(x_N) else max(self.p_of(math.inf, n), 2.0 ** (1 - n))

    def p_beyond(self, values_N: ArrayLike, bound: float, floor: float = 0.0) -> float:
        """p of "the mean is above `bound`": the two-sided p of the bound if the data lie above it, else 1."""
        x_N = as_scores(values_N)
        return self.p(x_N, bound, floor) if len(x_N) < 2 or x_N.mean() > bound else 1.0

    def p_within(self, values_N: ArrayLike, margin: float, floor: float = 0.0) -> float:
        """p of "the mean lies inside (-margin, margin)": two one-sided tests (Schuirmann 1987); NaN below two values.

        Below alpha exactly if the interval at level 1 - 2 alpha lies inside.
        """
        x_N = as_scores(values_N)
        if len(x_N) < 2:
            return math.nan
        if not abs(float(x_N.mean())) < margin:
            return 1.0
        return max(self.p(x_N, -margin, floor), self.p(x_N, margin, floor)) / 2


def standard_error(x_N: Array, floor: float = 0.0) -> float:
    """max(sample sd, floor) / sqrt(N); a spread that is rounding alone counts as none. NaN below two values."""
    if len(x_N) < 2:
        return math.nan
    spread = float(x_N.std(ddof=1))
    return max(spread if spread > _rounding(x_N) else 0.0, floor) / math.sqrt(len(x_N))


def _rounding(x_N: Array) -> float:
    """What differences of float64 numbers of this size, which would be equal in exact arithmetic, may differ by."""
    return 1e-12 * max(1.0, float(np.abs(x_N).max()))


def resolution(differences_N: ArrayLike, tasks: int) -> float:
    """The least spread that differences of two scores over the same `tasks` can honestly have.

    A score is a mean of `tasks` outcomes, so a multiple of 1 / tasks: rounding alone gives a difference the variance
    1 / (6 tasks²). And a difference of d needs at least |d| of the tasks to turn out differently, which has the
    binomial variance (|d| - d²) / tasks. The root of the larger one, averaged over seeds.

    >>> round(resolution([0.0, 0.0], tasks=512), 5), round(resolution([0.1, 0.1], tasks=512), 4)
    (0.0008, 0.0133)
    """
    d_N = np.abs(as_scores(differences_N)).clip(max=1.0)
    least_N = np.maximum(1 / (6 * tasks**2), (d_N - d_N**2) / tasks)
    return math.sqrt(float(least_N.mean())) if len(d_N) else 0.0


STUDENT = Procedure(
    "paired t test",
    critical=lambda n, alpha: float(stats.t.ppf(1 - alpha / 2, n - 1)),
    p_of=lambda t, n: float(2 * stats.t.sf(abs(t), n - 1)),
)
SEQUENCE = Procedure(
    sequential.RULE,
    critical=lambda n, alpha: sequential.half_width(n, 1 - alpha) * math.sqrt(n),
    p_of=lambda t, n: min(1.0, 1 / sequential.e_value(t, n)),
    anytime=True,
)
