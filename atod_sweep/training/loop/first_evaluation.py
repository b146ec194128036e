"""The evaluation before training: the same for all trials that start from one student, so made once, and kept."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from atod_sweep.config.base import content_hash
from atod_sweep.config.train import Train
from atod_sweep.envs import registry
from atod_sweep.paths import cache_dir
from atod_sweep.records.rows import write_whole
from atod_sweep.training import NUMERICS
from atod_sweep.training.pretraining.cache import recipes

Row = dict[str, Any]


def first_evaluation(config: Train, device: torch.device, play: Callable[[], Row]) -> Row:
    """What `play` finds for the untrained student, or what it found for an earlier trial, digit for digit.

    Shared are evaluations of students that were made here, and so are known by their recipe. They lie in the cache,
    under a hash of all that bears on them. A cache that cannot be written, or does not hold what it should, shares
    nothing.
    """
    student = recipes(config).get("student")
    if student is None:
        return play()
    path = cache_dir() / "evaluations" / f"{content_hash(_bears_on(config, student.digest, device))}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        lock.acquire()
    except OSError:
        return play()
    try:  # trials that start side by side wait here for the first of them
        found: Row | None = _kept(path)
        if found is None:
            found = play()
            with contextlib.suppress(OSError):
                write_whole(path, json.dumps(found))
    finally:
        lock.release()
    return found


def _kept(path: Path) -> Row | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "eval/success" in found else None


def _bears_on(config: Train, student: str, device: torch.device) -> Row:
    data = config.model_dump(mode="json")
    return {
        "student": student,
        "addressed": data["student"],
        "env": data["env"],
        "source": registry.source(config.env.id),
        "evaluation": {k: v for k, v in data["evaluation"].items() if k not in ("every", "final", "episodes_at_once")},
        "rollout": data["rollout"],
        "runtime": data["runtime"],
        "numerics": NUMERICS,
        "torch": torch.__version__,
        "machine": [platform.machine(), torch.backends.cpu.get_cpu_capability()],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
