"""OpenRLHF's own argument parser takes the flags, and its own trainer class uses the scheduled coefficient.

Needs `openrlhf==0.11.2` (its wheel without dependencies). What it imports for GPUs (deepspeed, vllm, flash-attn and
the like) is replaced by empty stand-ins where it is absent: none of it takes part in parsing or in the coefficient.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from shim_modules import modules_of

pytestmark = pytest.mark.slow
ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
HEAVY = {
    "deepspeed", "vllm", "flash_attn", "ring_flash_attn", "torchdata", "wandb", "bitsandbytes", "peft", "datasets",
}  # fmt: skip


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every absent module of HEAVY and gives an object that answers to every name."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in HEAVY else None

    def create_module(self, spec: Any) -> ModuleType:
        module: Any = MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.__name__ = [], spec, spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


@pytest.fixture
def openrlhf() -> Iterator[None]:
    if importlib.util.find_spec("openrlhf") is None:
        pytest.skip("openrlhf is not installed")
    if (found := importlib.metadata.version("openrlhf")) != "0.11.2":
        pytest.skip(f"written for openrlhf 0.11.2, found {found}")
    finder, before = StandIns(), set(sys.modules)
    sys.meta_path.append(finder)  # behind the others: what is installed is used
    yield
    sys.meta_path.remove(finder)
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "openrlhf" or isinstance(sys.modules[name], MagicMock):
            del sys.modules[name]


class Parsed(Exception):
    """Carries the arguments out of OpenRLHF's entry point."""


def parse(out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The arguments as OpenRLHF's own entry point parses and checks them."""
    import openrlhf.utils
    import ray

    def stop(args: Any) -> None:
        raise Parsed(args)

    flags = [
        word for line in (out / "openrlhf_flags.txt").read_text(encoding="utf-8").splitlines() for word in line.split()
    ]
    yours = ["--actor.model_name_or_path", "student", "--reward.remote_url", "reward", "--data.prompt_dataset", "data"]
    monkeypatch.setattr(sys, "argv", ["train_ppo_ray", *flags, *yours])
    monkeypatch.setattr(openrlhf.utils, "get_strategy", stop)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(Parsed) as caught:
        runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")
    return caught.value.args[0]


KL = {"kind": "linear", "start": 0.2, "end": 0.0, "anneal_fraction": 0.5}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ({"kind": "hybrid", "distill_weight": 0.0}, (0.0, "k1", False, "group_norm")),
        (
            {"kind": "hybrid", "distill_weight": 0.0, "kl_penalty": {"kind": "k3", "coef": KL}},
            (0.2, "k3", True, "group_norm"),
        ),
        (
            {
                "kind": "interpolated",
                "distill_weight": 0.0,
                "advantage": {"kind": "gae", "level": "token"},
                "kl_penalty": {"kind": "k1", "coef": KL},
            },
            (0.2, "k1", False, "gae"),
        ),
    ],
)
def test_its_parser_takes_the_flags(
    export_to: ExportTo, openrlhf: None, monkeypatch: pytest.MonkeyPatch, objective: dict[str, Any], expected: Any
) -> None:
    out, _ = export_to("openrlhf", objective)
    args = parse(out, monkeypatch)
    kl = args.algo.kl
    assert (kl.init_coef, kl.estimator, kl.use_loss, args.algo.advantage.estimator) == expected
    assert args.rollout.n_samples_per_prompt == 8
    assert args.actor.eps_clip == 0.2


def test_its_trainer_uses_the_coefficient_of_the_step(export_to: ExportTo, openrlhf: None) -> None:
    """Its own train_step and ppo_train run with stand-ins for models; the actor is told the coefficient of the step."""
    from openrlhf.trainer import ppo_trainer

    objective = {"kind": "hybrid", "distill_weight": 0.0, "kl_penalty": {"kind": "k3", "coef": KL}}
    out, rows = export_to("openrlhf", objective)
    told: list[float] = []
    kl = SimpleNamespace(target=None, init_coef=0.2, horizon=10000)
    args = SimpleNamespace(
        algo=SimpleNamespace(kl=kl),
        logger=SimpleNamespace(wandb=SimpleNamespace(key=None), tensorboard_dir=None),
        ckpt=SimpleNamespace(best_metric_key=""),
        critic=SimpleNamespace(freezing_steps=-1),
        ds=SimpleNamespace(enable_sleep=False),
        train=SimpleNamespace(dynamic_batch_enable=False),
        rollout=SimpleNamespace(batch_size=4, n_samples_per_prompt=8),
    )
    actor = MagicMock()
    actor.async_run_method = lambda method_name, kl_ctl=None: told.append(kl_ctl) or [{"kl": 0.5}]
    with modules_of(out, "scheduled_openrlhf") as (shim,), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo_trainer, "RemoteExperienceMaker", lambda *a: MagicMock(kl_ctl=a[4]))
        patch.setattr(ppo_trainer, "ray", SimpleNamespace(get=lambda refs: refs))
        trainer = shim.scheduled(ppo_trainer.BasePPOTrainer)(
            SimpleNamespace(args=args), actor, None, None, None, None, MagicMock()
        )
        entry = shim.scheduled(ppo_trainer.PPOTrainer.__ray_metadata__.modified_class)  # as the entry point does
        assert issubclass(entry, ppo_trainer.BasePPOTrainer)
        patch.setattr(trainer, "_compute_rollout_stats", lambda experiences: {})
        for step in [0, 1, 2, 5, 6, 7]:  # a resumed run starts in the middle
            _, after = trainer.train_step(MagicMock(), step)
            assert after == step + 1
            assert trainer.experience_maker.kl_ctl.value == trainer.kl_ctl.value
    assert told == pytest.approx([rows[s]["beta_kl"] for s in [0, 1, 2, 5, 6, 7]], abs=1e-12)
    assert told[0] == 0.2
    assert told[-1] == 0.0
