"""Process-wide settings that make a step fast and leave its result alone."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from atod_sweep.config.models import Dtype
from atod_sweep.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache
def keep_freed_memory() -> None:
    """Let glibc reuse large freed blocks instead of returning them to the kernel.

    A step allocates and frees the same few megabytes over and over; by default each of those is a fresh mapping whose
    pages fault on first touch, which costs a quarter of a compact student's update.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def use_threads(count: int) -> None:
    """CPU threads of this process. Tokenizers would take all cores, for texts that are short and few."""
    torch.set_num_threads(count)
    if count == 1:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a user's own setting stays


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread of torch inside, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def cpu_computes_bf16() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware (AVX512_BF16 or AMX)."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def check_autocast(wanted: str) -> None:
    """UserError where `runtime.precision: bf16` would run on a CPU, on which it takes three times as long as fp32."""
    if wanted == "cpu" or not torch.cuda.is_available():
        raise UserError(
            "runtime.precision: 'bf16' is slower than fp32 on a CPU; use fp32; teacher.dtype: bfloat16 helps there"
        )


def torch_dtype(wanted: Dtype, device: torch.device) -> torch.dtype:
    """The precision that a config wants on a device."""
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" or cpu_computes_bf16() else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32
