"""`python -m benchmarks.real_step [--tiny]`: steps at the shapes of Qwen3-0.6B and, as its teacher, Qwen3-4B.

The weights are random, so nothing is downloaded. Says what the preflight says of memory, then what the steps took of
it, and the seconds of each. With --tiny the same on small shapes, which a CPU does in seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from atod_sweep.config.files import load_train
from atod_sweep.config.train import Train
from atod_sweep.training.loop.memory import need
from atod_sweep.training.loop.trainer import Row, train
from benchmarks import tiny_models
from benchmarks.memory import resident_peak

SHAPES: dict[str, dict[str, Any]] = {
    "student": {
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "intermediate_size": 3072,
        "vocab_size": 151_936,
        "head_dim": 128,
    },
    "teacher": {
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "intermediate_size": 9728,
        "vocab_size": 151_936,
        "head_dim": 128,
    },
}
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "intermediate_size": 96,
    "vocab_size": 2048,
    "head_dim": 16,
}
STEPS = 2
EPISODES = {"rollout.tasks": 4, "rollout.group_size": 8, "rollout.max_action_tokens": 32, "evaluation.tasks": 32}
FEW = {"rollout.tasks": 1, "rollout.group_size": 2, "rollout.max_action_tokens": 8, "evaluation.tasks": 2}


def save(shape: dict[str, Any], folder: Path, device: str) -> None:
    """Random weights in bf16, made where the steps will run, and a tokenizer of as many words."""
    config = Qwen3Config(**shape, num_key_value_heads=8, tie_word_embeddings=True, max_position_embeddings=8192)
    config.dtype = torch.bfloat16
    with torch.device(device):
        Qwen3ForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tiny_models.widened(shape["vocab_size"]).save_pretrained(folder)


def trial(place: Path, is_tiny: bool) -> Train:
    """Two steps of the hybrid objective on the support desk, both models in bf16."""
    models = {
        role: {"kind": "pretrained", "path": str(place / role), "chat_template": False, "dtype": "bfloat16"}
        for role in SHAPES
    }
    env = {"env.id": "support_desk", "env.horizon": 8, "env.kwargs": {"style": "natural"}}
    rest = {"update.micro_batch_tokens": 8192, "steps": STEPS, "runtime.device": "cpu" if is_tiny else "cuda"}
    return load_train("presets/support_desk_compact", {**env, **models, **rest, **(FEW if is_tiny else EPISODES)})


def steps(config: Train) -> tuple[list[Row], int]:
    """Their rows, and the bytes that they took of the device: on a GPU with its context."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as out:
        if config.runtime.device == "cpu":
            return rows, resident_peak(lambda: train(config, Path(out), rows.extend))
        torch.cuda.reset_peak_memory_stats()
        train(config, Path(out), rows.extend)
    free, total = torch.cuda.mem_get_info()
    return rows, total - free - torch.cuda.memory_reserved() + torch.cuda.max_memory_reserved()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_step", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small shapes, on a CPU")
    is_tiny = parser.parse_args().tiny
    if not is_tiny and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device; --tiny tries the same on a CPU")
    with tempfile.TemporaryDirectory() as place:
        for role, shape in SHAPES.items():
            save(TINY if is_tiny else shape, Path(place) / role, "cpu" if is_tiny else "cuda")
        if not is_tiny:
            torch.cuda.empty_cache()
        config = trial(Path(place), is_tiny)
        said = need(config)
        assert said is not None
        print(f"said   {said}", flush=True)
        rows, taken = steps(config)
    print(f"taken  {taken / 1e9:.1f} GB; said / taken {said.total / taken:.2f}")
    for row in (row for row in rows if row["phase"] == "train"):
        told = {key.removeprefix("seconds/"): row[key] for key in row if key.startswith("seconds/")}
        print(f"step {row['step']}", ", ".join(f"{what} {seconds:.2f} s" for what, seconds in told.items()))
    brought = sorted({"ray", "optuna", "mlflow"} & sys.modules.keys())
    assert not brought, f"a training imports {brought}"


if __name__ == "__main__":
    main()
