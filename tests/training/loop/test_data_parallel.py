"""Two CPU processes give the gradients of one on the same episodes, and stay in step."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from ddp_worker import first_gradient, launch
from small import tiny

from atod_sweep.training.loop import trainer

SETTINGS = {
    "rollout__tasks": 3,  # two for one process, one for the other
    "rollout__group_size": 3,
    "optimiser__max_grad_norm": 1e9,
    "objective__distill_weight": 0.5,
    "objective__turns__kind": "t_dur",
    "objective__kl_penalty__kind": "k3",
    "objective__entropy_coef": 0.01,
    "update__micro_batch_tokens": 64,  # several parts, not as many in both
    "update__target_kl": 1.0,
}
GAE = {
    "objective__advantage__kind": "gae",
    "objective__advantage__whiten": False,
    "update__micro_batch_tokens": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SETTINGS, SETTINGS | GAE], ids=["group_relative", "gae"])
def test_the_gradient_of_two_processes_is_that_of_one(built, tmp_path, settings):
    first_gradient(tmp_path, settings)
    launch("gradient", tmp_path, settings)
    one, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    assert first["tokens"] + second["tokens"] == one["tokens"]
    assert first["tokens"] != second["tokens"]
    for name, want in one["gradients"].items():
        assert torch.equal(first["gradients"][name], second["gradients"][name]), name
        difference = (first["gradients"][name] - want).norm()
        assert difference <= 1e-5 * want.norm() + 1e-9, name
    assert first["metrics"]["grad_norm"] == pytest.approx(one["metrics"]["grad_norm"], rel=1e-4)
    assert first["metrics"]["kl/update"] == second["metrics"]["kl/update"]


@pytest.mark.slow
def test_advantages_are_whitened_among_all_processes(built, tmp_path):
    """Together they have mean 0 and deviation 1; each process's own do not."""
    launch("whiten", tmp_path, SETTINGS | GAE | {"objective__advantage__whiten": True})
    both = [torch.load(tmp_path / f"advantages-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert abs(torch.cat(both).mean()) < 1e-5
    assert torch.cat(both).std() == pytest.approx(1.0, abs=1e-5)
    assert abs(both[0].mean()) > 0.01


@pytest.mark.slow
def test_two_processes_stay_in_step(built, tmp_path):
    """Adaptive weight, target KL and early stop follow one measurement; rows and costs are those of both."""
    settings = {
        "rollout__tasks": 4,
        "objective__distill_weight__kind": "adaptive",
        "objective__distill_weight__threshold": 1.0,
        "objective__distill_weight__smoothing": 0.0,
        "objective__kl_penalty__kind": "k3",
        "objective__kl_penalty__coef__kind": "target_kl",
        "update__epochs": 3,
        "update__target_kl": 1e-4,
    }
    launch("run", tmp_path, settings)
    weights = [torch.load(tmp_path / f"weights-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1)]
    assert told[1]["told"] == []  # one process reports
    assert told[0]["steering"] == told[1]["steering"]  # the smoothed gap and the coefficient among it
    assert told[0]["final"] == told[1]["final"]
    assert told[0]["cost"] | {"seconds": 0} == told[1]["cost"] | {"seconds": 0}
    assert told[0]["cost"]["episodes"] == 4 * 4 * 4  # steps x tasks x rollouts, whoever played them
    assert told[0]["cost"]["updates"] == 4
    rows = [row for row in told[0]["told"] if row["phase"] == "train"]
    assert len({row["weight/distill"] for row in rows}) > 1
    assert [row["rollout/turns"] * 16 for row in rows] == pytest.approx(
        [b - a for a, b in itertools.pairwise([0, *(row["cost/env_steps"] for row in rows)])]
    )
    rows = []
    trainer.train(tiny(**settings | {"steps": 1}), tmp_path / "alone", rows.extend)
    for mine, theirs in zip(rows[0].items(), told[0]["told"][0].items(), strict=True):
        if mine[0].startswith("eval/"):  # of the tasks that two processes share: as one played them all
            assert mine == theirs
    assert not (tmp_path / "run" / "checkpoint").exists()
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
