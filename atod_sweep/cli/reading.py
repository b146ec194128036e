"""Verbs that read runs, or write something from one: report, compare, transfer, export, pack, verify, sync."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atod_sweep.cli.app import READ, app
from atod_sweep.cli.options import Experiment, RunDir, TrackingUri
from atod_sweep.cli.printing import say
from atod_sweep.errors import UserError


@app.command(rich_help_panel=READ)
def report(
    run_dir: RunDir,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="html, md or pdf (needs Chromium); repeatable; default: html, md."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write into; default: the run's own.")] = None,
) -> None:
    """Rebuild a run's report, tables and figures from its files alone."""
    from atod_sweep import api

    paths = api.report(run_dir, formats=formats or ("html", "md"), out=out)
    say("\n".join(f"{name:10}{path}" for name, path in paths.items()))


@app.command(rich_help_panel=READ)
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    all_claims: Annotated[
        bool, typer.Option("--claims", help="All claims of all runs as one Markdown table, also for two runs.")
    ] = False,
) -> None:
    """Put two runs side by side: how they were made, and what came out. Other numbers of runs: all their claims."""
    from atod_sweep import api

    say(api.compare(runs, claims=all_claims))


@app.command(rich_help_panel=READ)
def cost(
    run_dir: RunDir,
    price: Annotated[Path | None, typer.Option(help="File of prices; default: the price section of the run.")] = None,
    measure: Annotated[
        int, typer.Option(min=0, help="Tasks to play here with every model, one at a time, for the time of a turn.")
    ] = 0,
) -> None:
    """Tell what a task, and a solved one, costs with every arm and with the teacher, from the ledger's counts."""
    from atod_sweep import api

    say(api.cost(run_dir, price=price, measure=measure))


@app.command(rich_help_panel=READ)
def transfer(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs: the same arms, students of several sizes.")],
    margin: Annotated[float, typer.Option(help="Regret that would not matter, in units of the metric.")] = 0.03,
) -> None:
    """Tell whether the best schedule of the smallest students stays good on larger ones, as a page of Markdown."""
    from atod_sweep import api

    say(api.transfer(runs, margin=margin))


@app.command(rich_help_panel=READ)
def export(
    run_dir: RunDir,
    to: Annotated[
        str, typer.Option("--to", help="bundle, the trainer that shall run it (such as trl or verl), or all of them.")
    ] = "bundle",
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write into; default: RUN/export/TARGET.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps of the target run; default: the study's.")] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Horizon of the target run, in turns; default: the study's.")
    ] = None,
    at: Annotated[list[str] | None, typer.Option("--at", help="FACTOR=LEVEL, where schedules differ by level.")] = None,
    allow_lossy: Annotated[bool, typer.Option("--allow-lossy", help="Leave out what the target cannot carry.")] = False,
    model: Annotated[
        bool, typer.Option("--model", help="The best student, as a Hugging Face directory, instead of the schedule.")
    ] = False,
    register: Annotated[str | None, typer.Option(help="With --model: name in the MLflow model registry.")] = None,
    sign: Annotated[Path | None, typer.Option(help="Private key (PEM) to sign it with; needs the sign extra.")] = None,
    push: Annotated[str | None, typer.Option(help="Upload it to the Hugging Face hub, as ORG/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --push: tell what would be uploaded.")] = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = None,
) -> None:
    """Write the best schedule in a form that other trainers can run, or the best student (--model)."""
    from atod_sweep import api
    from atod_sweep.config.base import parse_assignments

    levels = {factor: str(level) for factor, level in parse_assignments(at or []).items()}
    if register is not None and not model:
        raise UserError(f"--register {register!r}: registers a student; add --model")
    if dry_run and push is None:
        raise UserError("--dry-run: tells what --push would upload; add --push ORG/NAME, or drop it")
    if not model:
        from atod_sweep.export.schedule.bundle import lines

        folder = api.export_schedule(run_dir, to, out, steps=steps, horizon=horizon, at=levels, allow_lossy=allow_lossy)
        say("\n".join([*lines(folder), *api.publish(folder, sign=sign, push=push, dry_run=dry_run)]))
        return
    if steps is not None or horizon is not None or to != "bundle" or allow_lossy:
        raise UserError(
            "--model: exports a student as it was trained; --allow-lossy, --to, --steps and --horizon are for schedules"
        )
    from atod_sweep.export.manifest import digest_of

    exported = api.export_model(
        run_dir, out, at=levels, register=register, tracking_uri=tracking_uri, experiment=experiment
    )
    say(f"model            {exported.folder}\nsha256           {digest_of(exported.folder)}")
    if exported.version is not None:
        say(f"registered       models:/{register}/{exported.version}")
    for line in api.publish(exported.folder, sign=sign, push=push, dry_run=dry_run):
        say(line)


@app.command(rich_help_panel=READ)
def pack(
    run_dir: RunDir,
    out: Annotated[Path, typer.Argument(help="Folder to write into: new, empty, or an earlier pack of the same run.")],
) -> None:
    """Write what a study publishes: at most 2 MB, without private paths, and enough to rebuild the report."""
    from atod_sweep import api

    packed = api.pack(run_dir, out)
    say(f"packed           {packed.folder}\nsize             {packed.size / 1e6:.2f} MB")
    say(f"training rows    every {packed.every}th step{'' if packed.every == 10 else ', to fit into 2 MB'}")
    if packed.unrecorded:
        say(f"without records  {packed.unrecorded} trials: their configs and curves are not in the run's folder")


@app.command(rich_help_panel=READ)
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of an exported bundle or model.")],
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code that it brings or names: kind: custom, an environment of yours.")
    ] = False,
    digest: Annotated[str | None, typer.Option(help="SHA-256 that the export was announced with.")] = None,
    key: Annotated[Path | None, typer.Option(help="Public key (PEM) of whoever signed it.")] = None,
) -> None:
    """Re-derive everything in a bundle, or check and play an exported model; fail on any difference."""
    from atod_sweep import api

    if trust:
        from atod_sweep.sweep.user_code import admit

        admit()
    for line in api.verify(bundle, trust=trust, digest=digest, key=key):
        say(line)


@app.command(rich_help_panel=READ)
def sync(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run that nobody is writing.")],
    logger: Annotated[
        str, typer.Option(metavar="[mlflow|wandb|tensorboard]", help="What to bring up to date.")
    ] = "mlflow",
    tracking_uri: TrackingUri = None,
    experiment: Experiment = None,
) -> None:
    """Bring MLflow, or another logger, up to a run's ledger."""
    from atod_sweep import api

    total = api.sync(run_dir, logger=logger, tracking_uri=tracking_uri, experiment=experiment, note=say)
    say(f"{total} trials are there")
