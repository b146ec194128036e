"""The command line: parse, hand on to `atod_sweep.api`, print. `main` is the console script."""

from __future__ import annotations

from atod_sweep.cli import folders  # noqa: F401  (its verbs join the app)
from atod_sweep.cli.verbs import app, main

__all__ = ["app", "main"]
