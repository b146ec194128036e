"""What the figures were measured on."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from atod_sweep.training.runtime import cpu_computes_bf16


def describe(device: str) -> str:
    """One line: processor, clock, versions."""
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, wall seconds, {versions}"
    bf16 = "with" if cpu_computes_bf16() else "without"
    return f"{_processor()} ({bf16} bf16 arithmetic), CPU seconds of one thread, {versions}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
