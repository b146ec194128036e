"""One model cache for the whole session, and the tiny models in it."""

from __future__ import annotations

import pytest
import torch
from small import tiny

from atod_sweep.training.pretraining import cache as models


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of our own, no hub, one thread."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOD_SWEEP_CACHE", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        torch.set_num_threads(1)
        yield folder


@pytest.fixture(scope="session")
def built(cache) -> models.Models:
    """The teacher and the base student of `tiny()`."""
    return models.ensure(tiny())
