"""Who takes part. A contender waits for the go before every step and hands over a row after it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from benchmarks.trainer.clock import Row
from benchmarks.trainer.workload import Workload

Wait = Callable[[], None]
Done = Callable[[Row], None]


@dataclass(frozen=True)
class Job:
    """What to run on. `autocast`: the student's update in bf16."""

    work: Workload
    device: str
    autocast: bool = False


@dataclass(frozen=True)
class Contender:
    """`teacher` is the precision in which it scores, or None for reward only; `way` is TRL's way to play turns.

    `cuda_graphs` concerns our decoding on a GPU, nothing else.
    """

    name: str
    trainer: Literal["ours", "plain", "trl"]
    teacher: Literal["fp32", "bf16"] | None
    way: str = ""
    cuda_graphs: bool = True

    def run(self, job: Job, wait: Wait, done: Done) -> None:
        """Step for as long as asked to; never returns."""
        # Imported here: each process loads what it runs, and a missing TRL hurts only its own rows.
        if job.device == "cpu":
            torch.set_num_threads(1)
        dtype = {None: None, "fp32": torch.float32, "bf16": torch.bfloat16}[self.teacher]
        if self.trainer == "trl":
            from benchmarks.trainer import trl_paths

            trainer = trl_paths.make_trainer(self.way, job.work, job.device, dtype, job.autocast)
            if job.device == "cpu":
                torch.set_num_threads(1)
            trainer.add_callback(trl_paths.Probe(trainer, job.device, wait, done))
            trainer.train()
        elif self.trainer == "ours":
            from benchmarks.trainer.ours import Ours

            _repeat(Ours(job.work, dtype, job.device, job.autocast, self.cuda_graphs).step, wait, done)
        else:
            from benchmarks.trainer.plain import Plain

            _repeat(Plain(job.work, dtype is not None, job.device).step, wait, done)


def _repeat(step: Callable[[], Row], wait: Wait, done: Done) -> None:
    while True:
        wait()
        done(step())


OURS = Contender("ours: reward", "ours", None)
OURS_FP32 = Contender("ours: reward + teacher", "ours", "fp32")
OURS_BF16 = Contender("ours: reward + teacher in bf16", "ours", "bf16")
OURS_WITHOUT_GRAPHS = Contender(
    "ours: reward + teacher in bf16, without CUDA graphs", "ours", "bf16", cuda_graphs=False
)
PLAIN = Contender("plain loop: reward", "plain", None)
PLAIN_TEACHER = Contender("plain loop: reward + teacher", "plain", "fp32")
TRL_ENVIRONMENT = Contender("TRL environment_factory: reward", "trl", None, "environment")
TRL_CACHED = Contender("TRL rollout_func, cached rollout: reward", "trl", None, "cached")
TRL_TEACHER = Contender("TRL rollout_func: reward + teacher", "trl", "fp32", "rollout")
TRL_TEACHER_BF16 = Contender("TRL rollout_func: reward + teacher in bf16", "trl", "bf16", "rollout")


def has_trl() -> bool:
    """Whether the `bench` extra is installed."""
    return all(importlib.util.find_spec(name) for name in ("trl", "datasets"))


TRL_MISSING = "TRL is not installed, its rows are left out: pip install 'atod-sweep[bench]'"
