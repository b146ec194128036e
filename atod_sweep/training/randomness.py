"""One random generator per purpose, all derived from one seed, so that no purpose can disturb another."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def stream_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for (seed, purpose), stable across processes and platforms."""
    words = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """A NumPy generator for host-side choices (tasks, order)."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, purpose)))


def torch_generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for sampling on `device`."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, purpose))
