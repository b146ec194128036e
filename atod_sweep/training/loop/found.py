"""What a training found at its start where its config leaves it open: kept in its folder, and held to on resume."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from atod_sweep.config.models import Dtype, Pretrained
from atod_sweep.config.train import Train
from atod_sweep.records import layout
from atod_sweep.training.failures import BadCheckpoint
from atod_sweep.training.models import identity
from atod_sweep.training.pretraining.cache import Models
from atod_sweep.training.runtime import torch_dtype


@dataclass(frozen=True)
class Found:
    """`frozen_dtype`: that of teacher and reference. `models`: role -> fingerprint, of pretrained ones."""

    frozen_dtype: Dtype
    models: dict[str, str]

    def keep(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        staging = directory / f".{layout.FOUND}"
        staging.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        staging.replace(directory / layout.FOUND)


def kept(directory: Path) -> Found | None:
    """What was found when the training in this folder began; None for those of earlier versions."""
    try:
        return Found(**json.loads((directory / layout.FOUND).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def precision(config: Train, before: Found | None, device: torch.device) -> Dtype:
    """Of teacher and reference: as the config says; where it leaves that to the device, as it was `before`."""
    if config.frozen_dtype != "auto":
        return config.frozen_dtype
    if before is not None:
        return before.frozen_dtype
    return "bfloat16" if torch_dtype("auto", device) == torch.bfloat16 else "float32"


def fingerprints(config: Train, refs: Models, loaded: dict[str, Any]) -> dict[str, str]:
    """Of the pretrained ones among the `loaded` models, by role; of what a recipe makes, that of its making."""
    sources = {role: getattr(config, role) for role in loaded}
    return {
        role: identity.fingerprint(source, loaded[role]) if source.recipe is None else getattr(refs, role).digest
        for role, source in sources.items()
        if isinstance(source, Pretrained)
    }


def check_same(before: Found, now: Found, config: Train) -> None:
    """Raise BadCheckpoint if a model is no longer the one that this training began with."""
    for role in before.models.keys() & now.models.keys():
        if before.models[role] != now.models[role]:
            path = getattr(config, role).path
            raise BadCheckpoint(
                f"{role}.path: {path!r} holds another model than when this training began; put that one back, or start "
                "over in another folder"
            )
