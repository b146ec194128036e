"""The models of a run's trials: built or found once, before any worker asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train, model_key
from atod_sweep.cores import cpu_cores
from atod_sweep.sweep.record.progress import Progress
from atod_sweep.sweep.record.scoreboard import clock
from atod_sweep.sweep.trials.jobs import Trainer, load
from atod_sweep.training.pretraining.apart import Builders
from atod_sweep.training.pretraining.cache import expected

Config = dict[str, Any]


def _needed(configs: Iterable[Config]) -> dict[str, Train]:
    """By its `model_key`, the first config that needs a pair of models."""
    found: dict[str, Config] = {}
    for config in configs:
        found.setdefault(model_key(config), config)
    return {key: validate(Train, config, "config") for key, config in found.items()}


def builders(configs: Iterable[Config], trainer: Trainer) -> Builders:
    """Start to build what is missing of the models that the configs need, each in a process of its own."""
    ours = trainer.ensure == Trainer().ensure
    return Builders(list(_needed(configs).values()) if ours else [], max(2, int(cpu_cores())))


def expected_models(configs: Iterable[Config]) -> dict[str, Any]:
    """What `ensure_models` will find, while our own trainer's models are being built."""
    return {key: expected(config) for key, config in _needed(configs).items()}


def ensure_models(
    configs: Iterable[Config], trainer: Trainer, show: Progress, made: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Every pair of models that the configs need, by its `model_key`. `made`: path -> model, for those just built."""
    ensure = load(trainer.ensure)
    models: dict[str, Any] = {}
    for key, config in _needed(configs).items():
        found = ensure(config, show.note)
        for role in ("teacher", "student"):
            ref = getattr(found, role)
            if ref is not None and made and ref.path in made:
                found = replace(found, **{role: made[ref.path]})
        models[key] = found
        show.note(_describe(found), event="models", **asdict(found))
    return models


def _describe(models: Any) -> str:
    parts = []
    for role, ref in (("teacher", models.teacher), ("base student", models.student)):
        if ref is not None:
            how = f"built in {clock(ref.seconds)}" if ref.built else "found"
            success = f"  (success {ref.success:.2f})" if ref.success is not None else ""
            parts.append(f"{role}  {how}{success}")
    return "          ".join(parts)
