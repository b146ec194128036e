"""AReaL's own dataclasses take the YAML, and its own loss has the gradient of the scheduled mix.

Needs `areal==1.0.4` (its wheel without dependencies) and the pure-Python packages that its config imports.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shim_modules import modules_of

from atod_sweep.config.base import dump_yaml, load_yaml

pytestmark = pytest.mark.slow
ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
TURNS = {"kind": "thresholds", "early_turns": 1, "late_turns": 1, "early": 1.0}


@pytest.fixture
def areal() -> None:
    if importlib.util.find_spec("areal") is None:
        pytest.skip("areal is not installed")
    if (found := importlib.metadata.version("areal")) != "1.0.4":
        pytest.skip(f"written for areal 1.0.4, found {found}")
    pytest.importorskip(
        "areal.api.cli_args", reason="a package that areal's config imports is not installed", exc_type=ImportError
    )


def test_its_dataclasses_take_the_yaml(export_to: ExportTo, areal: None, tmp_path: Path) -> None:
    """parse_cli_args, the structured merge and the dataclasses' own checks, as load_expr_config runs them."""
    from areal.api import cli_args
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    out, _ = export_to("areal", {"kind": "hybrid", "turns": TURNS})
    yours = {
        "experiment_name": "e",
        "trial_name": "t",
        "cluster": {"fileroot": str(tmp_path), "n_nodes": 1, "n_gpus_per_node": 2},
        "rollout": {"backend": "sglang:d1"},
        "train_dataset": {"path": "data", "batch_size": 4, "type": "rl"},
    }
    named = {"experiment_name": "e", "trial_name": "t", "fileroot": str(tmp_path)}
    yours |= dict.fromkeys(("saver", "recover", "evaluator", "stats_logger"), named)
    exported = load_yaml(out / "areal.yaml")
    exported["actor"] |= {"backend": "fsdp:d1", "path": "student", "experiment_name": "e", "trial_name": "t"}
    (tmp_path / "mine.yaml").write_text(dump_yaml({**yours, **exported}), encoding="utf-8")
    raw, _ = cli_args.parse_cli_args(["--config", str(tmp_path / "mine.yaml")])
    GlobalHydra.instance().clear()  # which it leaves behind
    config = OmegaConf.to_object(cli_args.to_structured_cfg(raw, cli_args.PPOConfig))
    assert isinstance(config, cli_args.PPOConfig)
    assert (config.total_train_steps, config.gconfig.n_samples, config.gconfig.temperature) == (8, 8, 1.0)
    assert config.teacher.rollout.backend == "sglang:d1"
    assert config.actor.reward_norm.group_size == 8
    assert config.actor.adv_norm is None
    assert config.actor.kl_ctl == 0.0


class Actor:
    """What the wrapper needs of AReaL's actor: advantages, and the number of updates made."""

    def __init__(self, episodes: list[dict[str, Any]], version: int) -> None:
        self.episodes, self.version = episodes, version

    def compute_advantages(self, batch: Any) -> list[dict[str, Any]]:
        return self.episodes

    def get_version(self) -> int:
        return self.version


MASK = torch.tensor([[0, 1, 1, 0, 1, 1], [1, 1, 0, 0, 0, 0]])
TURN = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]])


def episodes_of(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    student, teacher, advantages = (-torch.rand(2, 6, generator=generator) for _ in range(3))
    return {
        "logprobs": student,
        "prox_logp": student.clone(),
        "teacher_logp": teacher,
        "advantages": advantages,
        "loss_mask": MASK.float(),
        "rl_loss_weight": 1.0,
        "distill_loss_weight": 1.0,
    }


@pytest.mark.parametrize("step", range(8))
def test_its_loss_has_the_gradient_of_the_mix(export_to: ExportTo, areal: None, step: int) -> None:
    actor = pytest.importorskip(
        "areal.trainer.ppo.actor", reason="a package that areal's losses import is not installed", exc_type=ImportError
    )
    weight = {"kind": "linear", "start": 1.0, "end": 0.0, "anneal_fraction": 0.5}
    signal = {"kind": "sampled_reverse_kl"}
    objective = {"kind": "interpolated", "distill": signal, "distill_weight": weight, "turns": TURNS}
    out, rows = export_to("areal", objective)
    before = episodes_of(step)
    with modules_of(out, "scheduled_areal") as (shim,):
        engine = Actor([episodes_of(step)], step)
        shim.schedule_advantages(engine)
        (episodes,) = engine.compute_advantages([])
    distill, reward = (torch.tensor(rows[step][name])[TURN] for name in ("distill", "reward"))
    expected = reward * before["advantages"] + distill * (before["teacher_logp"] - before["logprobs"])
    mask = MASK.bool()
    assert torch.allclose(episodes["advantages"][mask], expected[mask], atol=1e-6)
    logp = before["logprobs"].clone().requires_grad_()
    loss = actor.grpo_loss_fn(logp, torch.zeros_like(logp), episodes, eps_clip=0.2, eps_clip_higher=None, c_clip=None)
    (gradient,) = torch.autograd.grad(loss, logp)
    assert torch.allclose(gradient[mask], -expected[mask] / mask.sum(), atol=1e-6)


def test_its_own_joint_loss_ignores_the_teacher(areal: None) -> None:
    """Why the wrapper exists: with AReaL's joint loss, another teacher gives the very same gradient."""
    actor = pytest.importorskip(
        "areal.trainer.ppo.actor", reason="a package that areal's losses import is not installed", exc_type=ImportError
    )
    gradients = []
    for shift in (0.0, -5.0):
        episodes = episodes_of(0)
        episodes["teacher_logp"] = episodes["teacher_logp"] + shift
        logp = episodes["logprobs"].clone().requires_grad_()
        loss = actor.grpo_loss_fn(
            logp, torch.zeros_like(logp), episodes, eps_clip=0.2, eps_clip_higher=None, c_clip=None
        )
        gradients += torch.autograd.grad(loss, logp)
    assert torch.equal(*gradients)
