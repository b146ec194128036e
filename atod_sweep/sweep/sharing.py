"""Which trials share a teacher: those on Ray that run side by side, where a copy in each would cost more than PAYS.

On a GPU every trial has a copy. On a CPU a model is mapped from its file, whose pages all processes share, unless it is
computed in another precision than the file's: then each holds a copy, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from atod_sweep.config.base import content_hash, validate
from atod_sweep.config.study import Resources
from atod_sweep.config.train import Train, model_key
from atod_sweep.errors import UserError
from atod_sweep.sweep.work import Site

PAYS = 1_000_000_000  # bytes that would be held more than once

Config = dict[str, Any]


@dataclass(frozen=True)
class Holding:
    """A teacher that is held once on every node. `config`: of one of its trials; `size`: its bytes, with what it takes
    to ask it; `gpu`: that as a share of one."""

    key: str
    config: Config
    size: int
    gpu: float


def key_of(config: Config) -> str | None:
    """The same for trials that can share a teacher; None for those that need their own, or none."""
    if config["teacher"]["kind"] not in ("pretrained", "compact"):
        return None
    trial = validate(Train, config, "config")
    if not trial.only_scores:
        return None
    models = [config[role] for role in ("student", "teacher")]
    given = all(model["kind"] == "pretrained" and model.get("recipe") is None for model in models)
    return content_hash([models if given else model_key(config), trial.frozen_dtype, config["runtime"]])


def holdings(configs: Iterable[Config], resources: Resources, side_by_side: int, site: Site) -> dict[str, Holding]:
    """By their keys, the teachers to share. UserError where there is none, and `resources.share_teacher` wants one."""
    wanted = resources.share_teacher
    beside = int(1 / resources.gpu + 1e-9) if resources.gpu > 0 else side_by_side  # on one device
    unknown = site.address is not None  # where trials of a cluster run, and what is there
    if site.backend != "ray" or wanted is False or (not wanted and (unknown or beside < 2)):
        return {}
    some = [config for config in configs if wanted or config["teacher"]["kind"] == "pretrained"]
    found = {}
    for key, config in {key: config for config in some if (key := key_of(config)) is not None}.items():
        copied, held = _sizes(config, resources.gpu > 0) if config["teacher"]["kind"] == "pretrained" else (0, 0)
        if wanted or (beside - 1) * copied >= PAYS:
            found[key] = Holding(key, config, held, _part_of_gpu(config, held) if resources.gpu > 0 else 0.0)
    if wanted and not found:
        raise UserError(
            "resources.share_teacher: true, but no trial has a local teacher that is asked for probabilities alone; "
            "leave it out"
        )
    return found


def _sizes(config: Config, on_gpu: bool) -> tuple[int, int]:
    """Bytes of a teacher that each trial copies, and that whoever holds it needs; 0 and 0 where that is not known."""
    from atod_sweep.training.loop import memory

    found = memory.teacher(validate(Train, config, "config"))
    return (0, 0) if found is None else (found.weights if on_gpu or not found.is_mapped else 0, found.held)


def _part_of_gpu(config: Config, size: int) -> float:
    """In hundredths."""
    from atod_sweep.training.loop import memory

    return max(1, math.ceil(100 * size / memory.there_is("auto", config["runtime"]["gpu_memory_fraction"]))) / 100


def left(resources: Resources, held: Iterable[Holding]) -> Resources:
    """What a trial gets beside them: its part of what they leave of a GPU."""
    return resources.model_copy(update={"gpu": resources.gpu * (1 - sum(one.gpu for one in held))})
