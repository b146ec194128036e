"""The models of a run's trials: built or found once, before any worker asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train, model_key
from atod_sweep.sweep.record.progress import Progress, clock
from atod_sweep.sweep.trials.jobs import Trainer, load


def ensure_models(configs: Iterable[dict[str, Any]], trainer: Trainer, show: Progress) -> dict[str, Any]:
    """Every pair of models that the configs need, by its `model_key`."""
    ensure = load(trainer.ensure)
    models: dict[str, Any] = {}
    for config in configs:
        key = model_key(config)
        if key not in models:
            models[key] = ensure(validate(Train, config, "config"), show.note)
            show.note(_describe(models[key]), event="models", **asdict(models[key]))
    return models


def _describe(models: Any) -> str:
    parts = []
    for role, ref in (("teacher", models.teacher), ("base student", models.student)):
        if ref is not None:
            how = f"built in {clock(ref.seconds)}" if ref.built else "found"
            success = f"  (success {ref.success:.2f})" if ref.success is not None else ""
            parts.append(f"{role}  {how}{success}")
    return "          ".join(parts)
