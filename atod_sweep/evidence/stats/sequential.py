"""When to stop adding seeds: an anytime-valid t test. `_N` seeds. Pure.

Looking after every block of seeds and stopping at the first interval that decides makes an ordinary 95 % interval
wrong far more often than one time in twenty. The confidence sequence of Wang and Ramdas (2023, arXiv 2310.03722; the
Gaussian mixture over the effect size with the right Haar prior on the scale) holds at all sample sizes at once:
P(it ever leaves out the true mean) <= alpha, for normal differences of unknown variance, whatever the rule for
stopping. It needs no plan of looks and stays valid if a study is extended later. For other laws its errors are
measured in benchmarks/coverage.md; `procedures` makes tests and intervals of it.
"""

from __future__ import annotations

import math
from functools import cache

RULE = "anytime-valid t confidence sequence (Wang and Ramdas 2023)"
# Prior variance g of the effect size (mean / sd). 1 is near the shortest half widths from 8 to 20 seeds: 1.50 sd at 8,
# 1.22 at 10, 0.77 at 20 (Student's at one fixed n: 0.84, 0.72, 0.47); 0.25 gives 2.55, 1.53, 0.77.
PRIOR = 1.0


@cache
def half_width(n: int, level: float = 0.95) -> float:
    """Half length of the sequence's interval after `n` seeds, in sample standard deviations; infinite at first.

    The interval holds those means whose e-value stays below 1 / alpha, solved for the mean.

    >>> [round(half_width(n), 2) for n in (3, 5, 10, 20, 40)]
    [inf, 3.78, 1.22, 0.77, 0.53]
    """
    grown = 1 + n * PRIOR
    bound = (grown / (1 - level) ** 2) ** (1 / n)
    if n < 2 or bound >= grown:
        return math.inf
    return math.sqrt((n - 1) / n * (bound - 1) / (1 - bound / grown))


def e_value(t: float, n: int) -> float:
    """Evidence against a mean whose t statistic on `n` seeds is `t`: under it, P(ever above 1/alpha) <= alpha.

    A Bayes factor with effect size ~ N(0, g): (1 + N g)^(-1/2) [(1 + t²/(N-1)) / (1 + t²/((N-1)(1 + N g)))]^(N/2).

    >>> round(e_value(20.0, 4), 3)
    10.543
    """
    if n < 2:
        return 1.0
    explained = 1.0 if math.isinf(t) else t**2 / (t**2 + n - 1)
    # The bracket of the formula above is 1 / (1 - explained * N g / (1 + N g)).
    return float((1 + n * PRIOR) ** -0.5 * (1 - explained * n * PRIOR / (1 + n * PRIOR)) ** (-n / 2))
