"""A trial with a share of a GPU is held to its share of the memory; Ray only counts."""

from __future__ import annotations

import pytest
import torch
from fake_training import FAKE

from atod_sweep.sweep.trials.attempt import execute
from atod_sweep.sweep.trials.jobs import Bounds, Job


@pytest.mark.parametrize(
    ("gpu", "runtime", "capped"),
    [(0.25, {}, [0.25]), (0.25, {"gpu_memory_fraction": 0.5}, []), (1.0, {}, []), (0.0, {}, [])],
    ids=["a share", "its own cap", "a whole GPU", "none"],
)
def test_a_share_of_a_gpu_is_a_share_of_its_memory(tmp_path, monkeypatch, gpu, runtime, capped):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    config = {"steps": 2, "evaluation": {"every": 2}, "runtime": runtime}
    attempt = execute(
        Job("a-s0", 1, config, str(tmp_path), ("eval/success",), FAKE, bounds=Bounds(gpu=gpu)), lambda rows: None
    )
    assert attempt.error is None
    assert asked == capped  # the trainer itself applies a cap of its own
