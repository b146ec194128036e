"""Cores by affinity and by the time that control groups grant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atod_sweep import cores
from atod_sweep.cores import cpu_cores, memory_bytes
from atod_sweep.sweep.backends import ray as runner
from atod_sweep.sweep.record import provenance

V1 = "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n"
V1_QUOTA = {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "300000", "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("membership", "files", "affinity", "wanted"),
    [
        ("0::/\n", {}, 8, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 8, 2),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 8, 2),  # the half is not counted
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 8, 1),  # but there is always one
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, 8, 8),
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000", "job/cpu.max": "300000 100000"}, 8, 3),  # the outer one's
        ("0::/job/step\n", {"job/step/cpu.max": "100000 50000", "job/cpu.max": "300000 100000"}, 8, 2),
        ("0::/host/path\n", {"cpu.max": "400000 100000"}, 8, 4),  # a container that is told the host's path
        (V1, V1_QUOTA, 8, 3),
        (V1, {key.replace("cpu,cpuacct/", "cpu/"): value for key, value in V1_QUOTA.items()}, 8, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 8, 5),
        (V1, {**V1_QUOTA, "cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "-1"}, 8, 8),
        (V1, {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "300000"}, 8, 8),  # no period, no limit
        ("0::/\n", {"cpu.max": "gibberish"}, 8, 8),
        ("0::/\n", {"cpu.max": ""}, 8, 8),
        ("0::/\n", {"cpu.max": "200000 soon"}, 8, 8),
        ("no group\n0::/a:b\n", {"a:b/cpu.max": "200000 100000"}, 8, 2),
        ("0::/\n", {"cpu.max": "400000 100000"}, 2, 2),
        (None, {}, 3, 3),
    ],
)
def test_the_narrowest_limit_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    membership: str | None,
    files: dict[str, str],
    affinity: int,
    wanted: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    groups = tmp_path / "cgroup"
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    told = tmp_path / "membership"
    if membership is not None:
        told.write_text(membership)
    assert cpu_cores(groups, told) == wanted


def test_everybody_counts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runner, provenance):
        assert module.cpu_cores is cores.cpu_cores
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert provenance.hardware()["cores"] == cpu_cores() == 1


@pytest.mark.parametrize(
    ("membership", "files", "wanted"),
    [
        ("0::/\n", {}, 8000),
        ("0::/\n", {"memory.max": "max\n"}, 8000),
        ("0::/\n", {"memory.max": "3000\n"}, 3000),
        ("0::/\n", {"memory.max": "9000\n"}, 8000),
        ("0::/job/step\n", {"job/step/memory.max": "max", "job/memory.max": "2000"}, 2000),
        (V1, {"memory/docker/ab/memory.limit_in_bytes": "1000\n"}, 1000),
        (V1, {"memory/docker/ab/memory.limit_in_bytes": "9223372036854771712\n"}, 8000),
        (V1, {"cpu,cpuacct/docker/ab/memory.limit_in_bytes": "1000\n"}, 8000),  # of another controller
        (None, {}, 8000),
    ],
)
def test_memory_is_the_machines_or_what_a_group_grants(tmp_path, monkeypatch, membership, files, wanted):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4, "SC_PHYS_PAGES": 2000}.__getitem__)
    groups = tmp_path / "cgroup"
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    told = tmp_path / "membership"
    if membership is not None:
        told.write_text(membership)
    assert memory_bytes(groups, told) == wanted
