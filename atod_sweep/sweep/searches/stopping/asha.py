"""Asynchronous successive halving: at every rung, only the best go on (arXiv 1810.05934)."""

from __future__ import annotations

from collections.abc import Sequence

from atod_sweep.config.search import ASHA
from atod_sweep.sweep.searches.stopping.evaluations import Evaluations


def asha(config: ASHA, trial: Evaluations, grace: float, now: float, peers: Sequence[float]) -> bool:
    """Whether the trial has come to a rung and `now` is not among the best 1/reduction of all that came so far."""
    if trial.steps[-1] < grace * config.reduction**trial.rungs:
        return False
    trial.rungs += 1
    passing = max(1, (len(peers) + 1) // config.reduction)
    return len(peers) + 1 >= config.reduction and sum(peer > now for peer in peers) >= passing
