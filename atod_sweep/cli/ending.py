"""What follows when trials have run: a look at the claims, report and schedule, the last words and the exit code."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from atod_sweep.errors import UserError


def judge(run_dir: Path) -> dict[str, Any]:
    """A look at the claims of a study that adds seeds until they are decided."""
    try:
        from atod_sweep.evidence.analysis.look import look
    except ModuleNotFoundError as missing:
        raise UserError(
            f"{run_dir}: judging claims needs {missing.name}, which is not here; elsewhere: atod-sweep resume {run_dir}"
        ) from None

    return look(run_dir)


def conclude(run_dir: Path) -> None:
    """Report and best schedule of a finished run, written before it is closed in MLflow.

    A machine that can train need not hold what reports are made with.
    """
    try:
        from atod_sweep.evidence.report.write import write
        from atod_sweep.export.schedule.best import write_best
    except ModuleNotFoundError as missing:
        said = f"no report: {missing.name} is not installed here; where it is: atod-sweep report {run_dir}"
        typer.echo(said, err=True)
        return
    from atod_sweep.training import NUMERICS

    try:
        write_best(run_dir)
    except UserError as nothing_to_export:  # every trial failed, say: the report states it
        typer.echo(f"no schedule exported: {nothing_to_export}", err=True)
    try:
        write(run_dir, NUMERICS)
    except UserError as richer_one_there:
        typer.echo(f"no new report: {richer_one_there}", err=True)


def close(outcome: Any, json_output: bool, extensible: bool = False) -> None:
    """Print what came of a run (a `sweep.session.Outcome`), and exit with 0 only if enough trials completed.

    `extensible`: the command just given can add seeds until the claims are decided.
    """
    run_dir = outcome.run_dir
    if outcome.interrupted:
        if not json_output:
            typer.echo(f"stopped with {outcome.complete} of {outcome.total} trials done")
        raise typer.Exit(130)
    if not json_output:
        from atod_sweep.records import ledger
        from atod_sweep.sweep.record.endings import lines as endings

        for line in endings(ledger.read(run_dir)):
            typer.echo(line)
    if not json_output and (run_dir / "report.html").exists():
        from atod_sweep.evidence.analysis import verdicts
        from atod_sweep.evidence.analysis.results import load
        from atod_sweep.evidence.report.summary import lines
        from atod_sweep.sweep.studies.until_decided import Rule

        results = load(run_dir)
        typer.echo("\n".join(lines(results)))
        typer.echo(f"\n report    {run_dir / 'report.html'}")
        if (run_dir / "best_schedule.yaml").exists():
            typer.echo(f" schedule  {run_dir / 'best_schedule.yaml'}")
        open_claims = any(verdict.outcome == "undecided" for verdict in verdicts.judge(results))
        if extensible and open_claims and len(results.seeds) < Rule.max_seeds:
            given = [part for part in sys.argv[1:] if part not in ("--resume", "--extend", "--overwrite")]
            typer.echo(f" next      {shlex.join(['atod-sweep', *given, '--extend', '--until-decided'])}")
    raise typer.Exit(0 if outcome.ok else 1)
