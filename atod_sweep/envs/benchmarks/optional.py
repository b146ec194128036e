"""Packages that only some environments need."""

from __future__ import annotations

import importlib
from typing import Any

from atod_sweep.errors import UserError


def optional(module: str, what: str, command: str) -> Any:
    """The module, imported now. Raises UserError saying that `what` needs it, with the `command` that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise UserError(
            f"{what} needs the package {missing.split('.')[0]!r}, which is not installed: {command}"
        ) from None
