"""Functions that run in two places: in the trainer, and as source text in exported bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Portable:
    """A function of numbers, and the other functions that its source calls.

    Its source may use Python's `math`, those functions, and nothing else.
    """

    function: Callable[..., Any]
    uses: tuple[Callable[..., Any], ...] = ()
