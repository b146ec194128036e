"""Lines for the terminal. What is printed may come from files and environments of others."""

from __future__ import annotations

import typer

from atod_sweep.records.redaction import shown


def say(text: object, err: bool = False, nl: bool = True) -> None:
    """Print a line, on stderr with `err`; characters that would steer the terminal as their escapes."""
    typer.echo(shown(str(text)), err=err, nl=nl)
