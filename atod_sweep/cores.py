"""How many cores and how much memory this process may use: for trials side by side, and what a run records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_cores(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Cores by affinity, or fewer if a control group (v1 or v2, as containers and schedulers set) grants less time.

    A share of a core that is left over is not counted, except that there is always one.
    """
    by_affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = (
        _quota(folder / "cpu.max") if is_v2 else _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
        for folder, is_v2 in _folders("cpu", groups, membership)
    )
    return max(1, int(min([by_affinity, *(cores for cores in granted if cores is not None)])))


def memory_bytes(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Memory of this machine, or less if a control group grants less."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    granted = (
        _number(folder / ("memory.max" if is_v2 else "memory.limit_in_bytes"))
        for folder, is_v2 in _folders("memory", groups, membership)
    )
    return min([there, *(size for size in granted if size is not None)])


def gpu_count() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


def in_words(size: float) -> str:
    """Bytes of memory."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _folders(controller: str, groups: Path, membership: Path) -> Iterator[tuple[Path, bool]]:
    """Of every control group that this process is in, outer ones too; whether it is one of version 2."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if number == "0" and not controllers:
            yield from ((folder, True) for folder in _upwards(groups, path))
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((controllers, controller)):
                yield from ((folder, False) for folder in _upwards(groups / mount, path))


def _upwards(mount: Path, path: str) -> list[Path]:
    """The folder of a control group and those around it. In a container the path may be the host's: then only some are
    there, the mount itself among them.
    """
    inner = mount / path.strip("/")
    return [inner, *(folder for folder in inner.parents if folder.is_relative_to(mount))]


def _quota(*files: Path) -> float | None:
    """Quota / period, in microseconds, in one file or two; None where there is no limit ("max", -1) or no file."""
    try:
        quota, period = map(int, " ".join(file.read_text(encoding="utf-8") for file in files).split())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _number(file: Path) -> int | None:
    """Bytes; None where there is no limit ("max") or no file."""
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
