"""The median rule: below the median of the peers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from atod_sweep.config.search import Median
from atod_sweep.sweep.searches.stopping.evaluations import Evaluations


def median(config: Median, trial: Evaluations, grace: float, now: float, peers: Sequence[float]) -> bool:
    """Whether `now` is below the median of at least `config.peers` peers."""
    return len(peers) >= config.peers and now < statistics.median(peers)
