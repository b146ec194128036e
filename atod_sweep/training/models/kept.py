"""What one process has once for all of its trials: tokenizers, the last frozen model, what a student did untrained.

A student is loaded anew by every trial: its weights are mapped from their file, which costs less than a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from atod_sweep.config.models import Pretrained
from atod_sweep.training.models import adapters, identity
from atod_sweep.training.models.load import load_model, load_tokenizer

T = TypeVar("T")


@dataclass
class _Frozen:
    """A model, and whether it was left between two passes: one that was stopped inside may have hooks left on it."""

    key: tuple[str, ...]
    model: Any
    is_idle: bool = False


_tokenizers: dict[tuple[str, ...], Any] = {}
_frozen: _Frozen | None = None
_untrained: tuple[tuple[object, ...], Any] | None = None


def tokenizer(source: Pretrained) -> Any:
    """`load_tokenizer`, of which a trial needs three. Whoever changes it loads one of its own."""
    key = key_of(source)
    if key not in _tokenizers:
        _tokenizers[key] = load_tokenizer(source)
    return _tokenizers[key]


def frozen(device: torch.device, source: Pretrained, dtype: torch.dtype | None) -> Any:
    """`load_model` for one that never learns: the model of the trial before, if that had the same and left it whole."""
    global _frozen
    key = (*key_of(source), str(dtype), str(device))
    if _frozen is None or _frozen.key != key or not _frozen.is_idle:
        _frozen = None  # before another one is there
        _frozen = _Frozen(key, load_model(source, dtype))
    _frozen.is_idle = False
    return _frozen.model


def forget() -> None:
    """Let the frozen model go: the next trial needs none."""
    global _frozen
    _frozen = None


def rest(is_idle: bool = True) -> None:
    """No pass goes on: whoever ends the trial now leaves the frozen model whole."""
    if _frozen is not None:
        _frozen.is_idle = is_idle


def untrained(key: tuple[object, ...] | None, play: Callable[[], T]) -> T:
    """What `play` finds, or found for the trial before, if that had the same `key`; None: of this trial alone."""
    global _untrained
    if key is None:
        return play()
    if _untrained is None or _untrained[0] != key:
        _untrained = key, play()
    found: T = _untrained[1]
    return found


def key_of(source: Pretrained) -> tuple[str, ...]:
    """Changes with the files that `source` names, and with how they are read."""
    base = adapters.base_of(source)
    rest = () if base is None else key_of(base)
    return (source.model_dump_json(), identity.stamp(source, None), *rest)
