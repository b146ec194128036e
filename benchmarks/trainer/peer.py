"""Our trainer for another harness that steps its contenders itself: `make(size, mode, turns)`.

The returned object has a `name` and a `step()`. A step's row holds token counts and, by phase, wall seconds (`gen`,
`score`, `update`, `total`) and CPU seconds (the same names with `_cpu`). The teacher scores in bf16 where the CPU
computes in it, and in float32 with `make_fp32`.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from atod_sweep.config.models import Dtype
from atod_sweep.training.runtime import torch_dtype
from benchmarks.trainer.ours import Ours
from benchmarks.trainer.workload import SIZES


class Peer:
    """One contender in the caller's process. No dataclass: those need a module that was imported by name."""

    def __init__(self, name: str, ours: Ours) -> None:
        self.name, self.ours = name, ours

    def step(self) -> dict[str, float]:
        """One optimiser step."""
        row = self.ours.step()
        parts = {"gen": row.rollout, "score": row.score, "update": row.update, "total": row.total}
        return {
            "tokens": row.tokens,
            "gen_tokens": row.generated,
            **{name: seconds.wall for name, seconds in parts.items()},
            **{f"{name}_cpu": seconds.cpu for name, seconds in parts.items()},
        }


def make(size: str, mode: str, turns: int, teacher: Dtype = "auto") -> Peer:
    """`mode`: "grpo" (reward only), "grpo_teacher" (reward and teacher), "kl" (reverse KL over the vocabulary)."""
    work = replace(SIZES[size], turns=turns)
    dtype = None if mode == "grpo" else torch_dtype(teacher, torch.device("cpu"))
    suffix = "" if dtype is None else f" {teacher} teacher"
    return Peer(f"ours {mode}{suffix}", Ours(work, dtype, "cpu", whole_distribution=mode == "kl"))


def make_fp32(size: str, mode: str, turns: int) -> Peer:
    """As `make`, with the teacher in float32."""
    return make(size, mode, turns, "float32")
