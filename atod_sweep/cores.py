"""How many cores this process may use: for trials side by side, environment workers, and what a run records of them."""

from __future__ import annotations

import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_cores(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Cores by affinity, or fewer if a control group (v1 or v2, as containers and schedulers set) grants less time.

    A share of a core that is left over is not counted, except that there is always one.
    """
    by_affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([by_affinity, *_quotas(groups, membership)])))


def _quotas(groups: Path, membership: Path) -> list[float]:
    """Cores granted by every control group that this process is in, outer ones too."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return []
    found = []
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if number == "0" and not controllers:
            found += [_quota(folder / "cpu.max") for folder in _upwards(groups, path)]
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                found += [
                    _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
                    for folder in _upwards(groups / mount, path)
                ]
    return [cores for cores in found if cores is not None]


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
