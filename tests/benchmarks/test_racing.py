"""The replay of racing: nobody looks up more than the budget, and without noise the best one is found."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import racing


class Counted(np.ndarray):
    """Scores that remember which of them were read one by one or in slices of a configuration."""

    seen: set[tuple[int, int]]

    def __getitem__(self, key):
        if isinstance(key, tuple) and isinstance(key[0], int | np.integer):
            stop = key[1].stop if isinstance(key[1], slice) else key[1] + 1
            self.seen |= {(int(key[0]), s) for s in range(stop)}
        return np.asarray(self)[key]


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_racing_keeps_to_its_budget(noise):
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = (rng.normal(0.5, 0.03, (40, 1)) + rng.normal(0, noise, (40, 5))).view(Counted)
        scores.seen = set()
        racing.racing(scores, rng)
        assert len(scores.seen) <= racing.BUDGET


@pytest.mark.parametrize("name", ["random search, 40 configurations x 1 seed", "racing over seeds"])
def test_without_noise_the_best_is_named(name):
    scores = np.tile(np.random.default_rng(1).normal(0.5, 0.03, (20, 1)), (1, 4))
    assert racing.regrets(racing.STRATEGIES[name], scores, 20).max() == 0


def test_what_was_recorded_is_whole():
    scores = racing.recorded()
    assert scores.shape[0] == 40
    assert ((scores >= 0) & (scores <= 1)).all()
