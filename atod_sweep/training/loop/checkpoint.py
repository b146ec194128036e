"""Checkpoints that are either whole or not there: weights as safetensors, everything else without pickled code.

A checkpoint is a folder `step-000123/` with `model.safetensors`, `optimiser.pt` (tensors and plain numbers, loaded with
`weights_only=True`), `state.json`, and a manifest that vouches for them (see `records.manifest`). The two newest are
kept, so that one torn by a crash or a full disk leaves its predecessor.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from atod_sweep.records import manifest
from atod_sweep.training.failures import BadCheckpoint

KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """The state of a trial between two optimiser steps."""

    step: int
    weights: dict[str, Tensor]
    tensors: dict[str, Any]  # optimiser and torch generators: nested containers of tensors and numbers
    state: dict[str, Any]  # JSON-able: generators, controllers, costs, rows not yet reported


def save(folder: Path, checkpoint: Checkpoint, digest: str) -> None:
    """Write `checkpoint` under `folder`; `digest` identifies the config that it belongs to."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / _name(checkpoint.step)
    staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        save_file({k: v.contiguous() for k, v in checkpoint.weights.items()}, staging / "model.safetensors")
        torch.save(checkpoint.tensors, staging / "optimiser.pt")
        (staging / "state.json").write_text(json.dumps(checkpoint.state))
        manifest.write(staging, step=checkpoint.step, config=digest)
        if final.exists():
            shutil.rmtree(final)
        staging.rename(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for old in _found(folder)[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)


def load_newest(folder: Path, digest: str, device: torch.device, note: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint of this config, or None if there is none at all.

    Torn ones are skipped with a note. Raises BadCheckpoint if checkpoints exist but none can be used.
    """
    found = _found(folder)
    problems = []
    for path in found:
        try:
            return _load(path, digest, device)
        except BadCheckpoint as problem:
            problems.append(str(problem))
            note(f"{problem}; trying the one before it")
    if problems:
        raise BadCheckpoint(f"no usable checkpoint in {folder}: {'; '.join(problems)}; remove it to start over")
    return None


def _load(path: Path, digest: str, device: torch.device) -> Checkpoint:
    try:
        facts = manifest.check(path)
    except ValueError as error:
        raise BadCheckpoint(f"{path}: torn ({error})") from None
    # The first versions' manifests had no checksum of their own, but each folder's name tells the step as well.
    if not isinstance(facts.get("step"), int) or _name(facts["step"]) != path.name:
        raise BadCheckpoint(f"{path}: torn (its manifest is of step {facts.get('step')!r})")
    if facts.get("config") != digest:
        raise BadCheckpoint(f"{path}: written by another config ({facts.get('config')}, this one is {digest})")
    try:
        tensors = torch.load(path / "optimiser.pt", weights_only=True, map_location=device)
    except UnpicklingError:
        raise BadCheckpoint(f"{path}: optimiser.pt holds more than tensors and numbers; not loaded") from None
    return Checkpoint(
        step=facts["step"],
        weights=load_file(path / "model.safetensors", device=str(device)),
        tensors=tensors,
        state=json.loads((path / "state.json").read_text()),
    )


def _found(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _name(step: int) -> str:
    return f"step-{step:06d}"
