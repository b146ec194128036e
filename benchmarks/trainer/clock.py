"""Seconds, bytes and GEMM speed: what a step is measured in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Seconds:
    """A point in time, or the difference of two."""

    wall: float
    cpu: float

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def on(self, device: str) -> float:
        """The robust figure: CPU seconds of a one-threaded process (its host may be shared), wall seconds of a GPU."""
        return self.cpu if device == "cpu" else self.wall


@dataclass(frozen=True)
class Row:
    """One optimiser step of one contender; `memory` is the peak so far in bytes (see `Memory`), if known."""

    tokens: int
    generated: int
    rollout: Seconds
    score: Seconds
    update: Seconds
    memory: int | None = None

    @property
    def total(self) -> Seconds:
        return self.rollout + self.score + self.update


def now(device: str) -> Seconds:
    """This moment, after all that was asked of the GPU is done."""
    if device != "cpu":
        torch.cuda.synchronize()
    return Seconds(time.perf_counter(), time.process_time())


class Memory:
    """Peak memory since its creation: allocated on the GPU, or resident in this process beyond what it began with."""

    def __init__(self, device: str) -> None:
        self.device, self.start = device, 0
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        elif (clear := Path("/proc/self/clear_refs")).exists():
            clear.write_text("5")  # resets the high-water mark VmHWM
            self.start = _status("VmRSS")

    def peak(self) -> int | None:
        """In bytes; None where the system does not say."""
        if self.device != "cpu":
            return torch.cuda.max_memory_allocated()
        return _status("VmHWM") - self.start if Path("/proc/self/status").exists() else None


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


class Gemm:
    """Float32 matrix products, as fast as this machine does them now."""

    def __init__(self, device: str) -> None:
        self.device, self.size = device, 1024 if device == "cpu" else 8192
        self.a, self.b = (torch.randn(self.size, self.size, device=device) for _ in range(2))

    def flops_per_second(self) -> float:
        """Best of two."""
        seconds = []
        for _ in range(2):
            start = now(self.device)
            self.a @ self.b
            seconds.append((now(self.device) - start).on(self.device))
        return 2 * self.size**3 / min(seconds)
