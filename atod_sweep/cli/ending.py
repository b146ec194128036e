"""The last words of a run on the console, and its exit code."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import typer

from atod_sweep.cli.printing import say

if TYPE_CHECKING:
    from atod_sweep.api import Run


def close(run: Run, json_output: bool, extensible: bool = False) -> None:
    """Print what came of a run, and exit with 0 only if enough trials completed.

    `extensible`: the command just given can add seeds until the claims are decided.
    """
    if run.interrupted:
        raise typer.Exit(130)
    if not json_output:
        _print(run, extensible)
    raise typer.Exit(0 if run.ok else 1)


def _print(run: Run, extensible: bool) -> None:
    from atod_sweep.records import ledger
    from atod_sweep.records.redaction import redacted
    from atod_sweep.sweep.record.endings import lines as endings

    folder = run.folder
    for line in endings(ledger.read(folder)):
        say(line)
    if not (folder / "report.html").exists():
        return
    say(run.summary())
    say(f"\n report    {folder / 'report.html'}")
    if (folder / "best_schedule.yaml").exists():
        say(f" schedule  {folder / 'best_schedule.yaml'}")
    if extensible and run.ok and run.has_open_claims:
        given = [part for part in sys.argv[1:] if part not in ("--resume", "--extend", "--overwrite")]
        say(f" next      {redacted(shlex.join(['atod-sweep', *given, '--extend', '--until-decided']))}")
