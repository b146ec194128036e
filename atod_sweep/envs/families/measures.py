"""Measures of an episode or of several attempts at one task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import comb


def f1(required: Iterable[str], performed: Iterable[str]) -> float:
    """F1 of two multisets of actions: 2 |required & performed| / (|required| + |performed|)."""
    wanted, done = Counter(required), Counter(performed)
    return 2 * (wanted & done).total() / (wanted.total() + done.total())


def pass_at_k(attempts: int, passed: int, k: int) -> float:
    """Chance that at least one of k attempts, drawn from `attempts` without replacement, is among the `passed` ones.

    The unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374, section 2.1); average it
    over tasks. Raises ValueError unless 0 <= passed <= attempts and 1 <= k <= attempts.
    """
    if not (0 <= passed <= attempts and 1 <= k <= attempts):
        raise ValueError(
            f"pass@k needs 0 <= passed <= attempts and 1 <= k <= attempts, got {passed=}, {attempts=}, {k=}"
        )
    return 1 - comb(attempts - passed, k) / comb(attempts, k)
