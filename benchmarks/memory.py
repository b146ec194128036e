"""`python -m benchmarks.memory`: the memory that trials are said to need beside what they take, into memory.md.

Random Qwen3 models of four sizes, each with a teacher twice as deep, on a CPU: two steps in a process of its own, whose
resident memory is read every few milliseconds and counted from just before the models are loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from transformers import Qwen3Config, Qwen3ForCausalLM

from atod_sweep.config.files import load_train
from atod_sweep.training.loop.memory import need
from atod_sweep.training.loop.trainer import train
from benchmarks import tiny_models

OUT = Path(__file__).parent / "memory.md"
SIZES = {
    "9 M": {"hidden": 256, "layers": 6, "vocabulary": 8192},
    "42 M": {"hidden": 512, "layers": 8, "vocabulary": 16384},
    "135 M": {"hidden": 576, "layers": 24, "vocabulary": 49152},
    "250 M": {"hidden": 896, "layers": 16, "vocabulary": 65536},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "full, forward KL": {},
    "LoRA, KL to the reference": {"student.lora": {"rank": 8}, "objective.kl_penalty": {"kind": "full", "coef": 0.1}},
}


def save(size: dict[str, int], folder: Path, layers: int) -> Path:
    """A random model in a directory, with a tokenizer for the environment."""
    config = Qwen3Config(
        vocab_size=size["vocabulary"],
        hidden_size=size["hidden"],
        intermediate_size=3 * size["hidden"],
        num_hidden_layers=layers,
        num_attention_heads=size["hidden"] // 64,
        num_key_value_heads=max(1, size["hidden"] // 192),
        head_dim=64,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer = tiny_models.tokenizer()
    tokenizer.add_tokens([f"<word {i}>" for i in range(size["vocabulary"] - len(tokenizer))])
    tokenizer.save_pretrained(folder)
    return folder


def trial(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The config of a trial whose models lie in `folder`."""
    env = {"env.id": "support_desk", "env.horizon": 4, "env.kwargs": {"style": "natural"}}
    models = {
        role: {"kind": "pretrained", "path": str(folder / role), "chat_template": False}
        for role in ("student", "teacher")
    }
    rollout = {"rollout.tasks": 2, "rollout.group_size": 4, "rollout.max_action_tokens": 16}
    update = {"update.micro_batch_tokens": 1024, "evaluation.tasks": 8, "steps": 2, "runtime.device": "cpu"}
    return {**env, **models, **rollout, **update, **settings}


def measure(folder: Path, settings: dict[str, Any]) -> tuple[str, float, float]:
    """What is said, and what is said and taken in GB."""
    config = load_train("presets/support_desk_compact", trial(folder, settings))
    said = need(config)
    assert said is not None
    held: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.004):
            held.append(_resident())

    before = _resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as out:
        train(config, Path(out), lambda rows: None)
    ended.set()
    watcher.join()
    return str(said), said.total / 1e9, (max(held) - before) / 1e9


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Every size and setting in a process of its own."""
    lines = [
        "# Memory: said and taken",
        "",
        "`python -m benchmarks.memory`. " + " ".join((__doc__ or "").split("\n\n", 1)[1].split()),
        "",
        "| student | setting | said, GB | taken, GB | ratio | what is said |",
        "|---|---|---|---|---|---|",
    ]
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as place:
            for role, layers in (("student", size["layers"]), ("teacher", 2 * size["layers"])):
                save(size, Path(place) / role, layers)
            for setting, changes in SETTINGS.items():
                begun = time.monotonic()
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.memory", place, json.dumps(changes)],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                words, said, taken = json.loads(done.stdout.splitlines()[-1])
                lines.append(f"| {name} | {setting} | {said:.2f} | {taken:.2f} | {said / taken:.2f} | {words} |")
                print(lines[-1], f"{time.monotonic() - begun:.0f} s", flush=True)
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]), json.loads(sys.argv[2]))))
    else:
        main()
