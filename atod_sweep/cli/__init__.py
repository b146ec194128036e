"""The command line. `main` is the console script; the verbs are in `verbs`."""

from __future__ import annotations

from atod_sweep.cli.verbs import app, main

__all__ = ["app", "main"]
