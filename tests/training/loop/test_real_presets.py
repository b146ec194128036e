"""Presets of real models: the published setting, whole, and what one GPU holds; checked without their weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from templates import PER_TURN, talker
from transformers import Qwen3Config

from atod_sweep.config.files import load_train
from atod_sweep.config.models import Lora, Pretrained
from atod_sweep.config.objective import Hybrid
from atod_sweep.config.schedules import Linear
from atod_sweep.config.turns import TDur
from atod_sweep.envs.look import look
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.loop import memory
from atod_sweep.training.loop.trainer import train
from benchmarks import tiny_models

WHOLE = "paper_2606_27814_alfworld"
# tasks and episodes of a step, tokens of context, learning rate, adapters
ONE_GPU = {
    WHOLE: (16, 8, 4096, 1e-6, None),
    "qwen3_one_gpu_80gb": (16, 8, 3072, 1e-6, None),
    "qwen3_one_gpu_24gb": (4, 8, 2048, 1e-5, Lora(rank=16)),
}


@pytest.mark.parametrize("name", ONE_GPU)
def test_they_are_the_published_method(name):
    config = load_train(f"presets/{name}")
    objective = config.objective
    assert isinstance(objective, Hybrid)
    assert objective.distill_weight == Linear(start=1.0, end=0.1, anneal_steps=80)
    assert objective.reward_weight == Linear(start=1.0, end=2.0, anneal_steps=80)
    assert isinstance(objective.turns, TDur)
    assert (config.env.id, config.env.horizon, config.steps) == ("alfworld", 50, 150)
    assert isinstance(config.student, Pretrained)
    assert config.student.chat_template_kwargs == {"enable_thinking": False}
    rollout = config.rollout
    found = (rollout.tasks, rollout.group_size, rollout.max_context_tokens, config.optimiser.lr, config.student.lora)
    assert found == ONE_GPU[name]
    assert ALGORITHMS[objective.kind].needs(config).reference == "none"  # nothing else lies in memory


@pytest.mark.slow
def test_the_first_look_at_their_environment_finds_nothing_wrong():
    pytest.importorskip("alfworld")
    config = load_train(f"presets/{WHOLE}")
    assert look([config.env]).notes == []


# width, width inside, layers, heads of the Qwen3 models; eight heads of 128 have keys and values, 151,936 ids
SIZES = {
    "Qwen/Qwen3-0.6B": (1024, 3072, 28, 16),
    "Qwen/Qwen3-1.7B": (2048, 6144, 28, 16),
    "Qwen/Qwen3-4B": (2560, 9728, 36, 32),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gigabytes"), [("qwen3_one_gpu_80gb", (60, 84)), ("qwen3_one_gpu_24gb", (10, 22))])
def test_one_gpu_holds_them(name, gigabytes, tmp_path, monkeypatch):
    """By the estimate that is made before weights are loaded, from the models' configs alone."""
    pytest.importorskip("alfworld")
    for model, (width, inside, layers, heads) in SIZES.items():
        config = Qwen3Config(
            hidden_size=width, intermediate_size=inside, num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=8, head_dim=128, vocab_size=151_936, architectures=["Qwen3ForCausalLM"],
        )  # fmt: skip
        config.tie_word_embeddings = True
        config.save_pretrained(tmp_path / model)
        talker(PER_TURN["qwen 3"]).save_pretrained(tmp_path / model)
    config = load_train(f"presets/{name}")
    assert isinstance(config.student, Pretrained)
    assert isinstance(config.teacher, Pretrained)
    local = {f"{role}.path": str(tmp_path / getattr(config, role).path) for role in ("student", "teacher")}
    monkeypatch.setattr(memory, "_device", lambda config: torch.device("cuda"))
    need = memory.need(load_train(f"presets/{name}", local | {"runtime.device": "cpu"}))
    assert need is not None
    least, most = gigabytes
    assert least < need.total / 1e9 < most


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_GPU)
def test_a_step_of_them_with_small_models_in_the_place_of_theirs(name, tmp_path):
    pytest.importorskip("alfworld")
    small = tiny_models.save("qwen3", tmp_path)
    less: dict[str, Any] = {
        "student.path": str(small), "teacher.path": str(small), "steps": 1, "env.kwargs.receptacles": 2,
        "env.horizon": 3, "rollout.tasks": 1, "rollout.group_size": 2, "evaluation.tasks": 2, "runtime.device": "cpu",
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    train(load_train(f"presets/{name}", less), tmp_path / "run", rows.extend)
    (step,) = (row for row in rows if row["phase"] == "train")
    assert abs(step["kl/teacher"]) < 1e-2  # its own teacher, in bfloat16
