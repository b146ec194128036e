"""The command line: parse, hand on to `atod_sweep.api`, print. `main` is the console script."""

from __future__ import annotations

from atod_sweep.cli import folders, looking, reading, running  # noqa: F401  (their verbs join the app)
from atod_sweep.cli.app import app, main

__all__ = ["app", "main"]
