"""`python -m benchmarks.memory [SIZE …]`: what trials are said to need beside what they take, into memory.md.

Random Qwen3 models, each with a teacher of its own size, on a CPU: two steps of four conversations in a process of its
own, whose resident memory is read every few milliseconds and counted from just before the models are loaded. Named
sizes are measured anew, the rows of the others stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Qwen3Config, Qwen3ForCausalLM

from atod_sweep.config.files import load_train
from atod_sweep.training.loop.memory import need
from atod_sweep.training.loop.trainer import train
from benchmarks import tiny_models

OUT = Path(__file__).parent / "memory.md"
SIZES = {
    "0.4 M": {"hidden": 64, "layers": 4, "vocabulary": 2048},
    "2.6 M": {"hidden": 192, "layers": 4, "vocabulary": 4096},
    "9 M": {"hidden": 320, "layers": 5, "vocabulary": 8192},
    "135 M": {"hidden": 576, "layers": 26, "vocabulary": 49152},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "full, forward KL": {},
    "LoRA, KL to the reference": {"student.lora": {"rank": 8}, "objective.kl_penalty": {"kind": "full", "coef": 0.1}},
}


def save(size: dict[str, int], folder: Path) -> Path:
    """A random model in a directory, with a tokenizer for the environment."""
    config = Qwen3Config(
        vocab_size=size["vocabulary"],
        hidden_size=size["hidden"],
        intermediate_size=3 * size["hidden"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["hidden"] // 64,
        num_key_value_heads=max(1, size["hidden"] // 192),
        head_dim=64,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tiny_models.widened(size["vocabulary"]).save_pretrained(folder)
    return folder


def trial(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The config of a trial whose models lie in `folder`."""
    env = {"env.id": "support_desk", "env.horizon": 4, "env.kwargs": {"style": "natural"}}
    models = {
        role: {"kind": "pretrained", "path": str(folder / role), "chat_template": False}
        for role in ("student", "teacher")
    }
    rollout = {"rollout.tasks": 2, "rollout.group_size": 2, "rollout.max_action_tokens": 16}
    update = {"update.micro_batch_tokens": 1024, "evaluation.tasks": 4, "steps": 2, "runtime.device": "cpu"}
    return {**env, **models, **rollout, **update, **settings}


def measure(folder: Path, settings: dict[str, Any]) -> tuple[dict[str, int], int]:
    """What is said, part by part, and what is taken, in bytes."""
    config = load_train("presets/support_desk_compact", trial(folder, settings))
    said = need(config)
    assert said is not None
    with tempfile.TemporaryDirectory() as out:
        return said.parts, resident_peak(lambda: train(config, Path(out)))


def resident_peak(work: Callable[[], object]) -> int:
    """How many bytes of resident memory this process has at most while it works, above what it had before."""
    held: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.004):
            held.append(_resident())

    before = _resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    ended.set()
    watcher.join()
    return max(held) - before


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def row(name: str) -> list[str]:
    """The lines of a size, of each setting in a process of its own."""
    lines = []
    with tempfile.TemporaryDirectory() as place:
        for role in ("student", "teacher"):
            save(SIZES[name], Path(place) / role)
        for setting, changes in SETTINGS.items():
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", place, json.dumps(changes)],
                check=True,
                capture_output=True,
                text=True,
            )
            parts, taken = json.loads(done.stdout.splitlines()[-1])
            said = sum(parts.values())
            of = ", ".join(f"{part} {size / 1e6:.0f}" for part, size in parts.items() if size >= said / 100)
            lines.append(f"| {name} | {setting} | {said / 1e6:.0f} | {taken / 1e6:.0f} | {said / taken:.2f} | {of} |")
            print(lines[-1], flush=True)
    return lines


def main(sizes: list[str]) -> None:
    """Measure these sizes, or all."""
    before = OUT.read_text(encoding="utf-8").splitlines() if OUT.is_file() else []
    lines = [
        "# Memory: said and taken",
        "",
        "`python -m benchmarks.memory`. " + " ".join((__doc__ or "").split("\n\n", 1)[1].split()),
        "",
        "| student | setting | said, MB | taken, MB | ratio | what is said |",
        "|---|---|---|---|---|---|",
    ]
    for name in SIZES:
        lines += row(name) if name in (sizes or SIZES) else [line for line in before if line.startswith(f"| {name} |")]
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2].startswith("{"):
        print(json.dumps(measure(Path(sys.argv[1]), json.loads(sys.argv[2]))))
    else:
        main(sys.argv[1:])
