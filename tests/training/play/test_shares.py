"""Every episode is somebody's, once, and what came of all is in their order; random numbers are the episode's own."""

from __future__ import annotations

import pytest
import torch
from small import make_model, play

from atod_sweep.training.play.shares import ALONE, Share


@pytest.mark.parametrize(
    ("world", "episodes", "shares"),
    [(1, 3, [[0, 1, 2]]), (2, 5, [[0, 2, 4], [1, 3]]), (3, 3, [[0], [1], [2]]), (3, 2, [[0, 1], [0, 1], [0, 1]])],
    ids=["alone", "uneven", "one each", "too few to share"],
)
def test_shares(world, episodes, shares, monkeypatch):
    found = [[f"of {e}" for e in Share(rank, world).of(episodes)] for rank in range(world)]
    assert [list(Share(rank, world).of(episodes)) for rank in range(world)] == shares

    def all_gather(into, mine):
        into[:] = found

    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather)
    for rank in range(world):
        assert Share(rank, world).gathered(found[rank], episodes) == [f"of {e}" for e in range(episodes)]


def test_an_episode_is_the_same_whoever_plays_it():
    model, seeds = make_model("llama"), list(range(5))
    alone = play(model, seeds, share=ALONE)
    for rank in range(2):
        mine = play(model, seeds, share=Share(rank, 2))
        assert mine.outcomes == alone.outcomes[rank::2]
