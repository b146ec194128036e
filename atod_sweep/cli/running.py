"""Verbs that train: run, resume, search, train."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atod_sweep.cli.app import TRAIN, app
from atod_sweep.cli.options import DryRun, JsonEvents, Overrides, RunOptions, StartOptions, with_run_options
from atod_sweep.cli.printing import say
from atod_sweep.paths import expanded

if TYPE_CHECKING:
    from atod_sweep.api import Run
    from atod_sweep.sweep.estimate import Estimate
    from atod_sweep.sweep.record.progress import Progress


@app.command(rich_help_panel=TRAIN)
@with_run_options
def run(
    *,
    study: Annotated[
        Path, typer.Argument(help="Study file (YAML), or the name of a shipped one, for example quickstart.")
    ],
    overrides: Overrides = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds: the first of the study's own, then those that follow.")
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help="Add seeds to the arms of open hypotheses until all are decided, by a sequential rule.",
        ),
    ] = False,
    max_seeds: Annotated[
        int | None, typer.Option(help="With --until-decided: seeds in all at which it gives up; default: 40.")
    ] = None,
    block: Annotated[
        int | None, typer.Option(help="With --until-decided: seeds from one look to the next; default: 5.")
    ] = None,
    options: StartOptions,
    dry_run: DryRun = False,
    json_output: JsonEvents = False,
) -> None:
    """Run an ablation study: train every arm x seed, record, report, export the best schedule."""
    with closing(options.display(json_output)) as show:
        from atod_sweep import api
        from atod_sweep.config.base import parse_assignments
        from atod_sweep.sweep.studies.until_decided import rule_for

        changes = parse_assignments(overrides or [])
        rule = rule_for(until_decided, max_seeds=max_seeds, block=block)
        if dry_run:
            from atod_sweep.sweep.studies.run_study import dry_run as estimate

            given = {"overrides": changes, "seeds": seeds, "until_decided": rule}
            return _tell_estimate(study, estimate, show, **given, **options.place())
        done = api.run(
            study, overrides=changes, seeds=seeds, until_decided=rule or False, show=show, **options.keywords()
        )
        close(done, json_output, extensible=not until_decided)


@app.command(rich_help_panel=TRAIN)
@with_run_options
def resume(
    *,
    run_dir: Annotated[Path, typer.Argument(help="Folder of an interrupted run, for example runs/quickstart.")],
    options: RunOptions,
    json_output: JsonEvents = False,
) -> None:
    """Go on with an interrupted run, from what its folder holds."""
    with closing(options.display(json_output)) as show:
        from atod_sweep import api

        close(api.resume(run_dir, show=show, **options.keywords()), json_output)


@app.command(rich_help_panel=TRAIN)
@with_run_options
def search(
    *,
    space: Annotated[Path, typer.Argument(help="Search file (YAML), for example search_spaces/schedule.yaml.")],
    overrides: Overrides = None,
    configurations: Annotated[int | None, typer.Option(help="Configurations, in the place of the file's.")] = None,
    options: StartOptions,
    dry_run: DryRun = False,
    json_output: JsonEvents = False,
) -> None:
    """Search a space with Optuna, then confirm the best configurations on fresh seeds."""
    with closing(options.display(json_output)) as show:
        from atod_sweep import api
        from atod_sweep.config.base import parse_assignments

        changes = parse_assignments(overrides or [])
        if dry_run:
            from atod_sweep.sweep.searches.run_search import dry_run as estimate

            given = {"overrides": changes, "configurations": configurations}
            return _tell_estimate(space, estimate, show, **given, **options.place())
        done = api.search(space, overrides=changes, configurations=configurations, show=show, **options.keywords())
        close(done, json_output)


@app.command(rich_help_panel=TRAIN)
def train(
    config: Annotated[str, typer.Argument(help="Trainer config: presets/NAME or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Dotted overrides, for example steps=100.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write into, the training's own.")] = Path("runs/train"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    schedule: Annotated[Path | None, typer.Option(help="Exported schedule bundle to train with.")] = None,
    json_output: JsonEvents = False,
) -> None:
    """Train one student, without Ray and MLflow."""
    from atod_sweep import api
    from atod_sweep.config.base import parse_assignments
    from atod_sweep.sweep.record.progress import print_event

    def show(event: dict[str, Any]) -> None:
        if json_output:
            print_event(event)
        elif event.get("event") == "note":
            say(event["text"], err=True)
        else:
            say(
                f"step {event['step']:>5}/{event['steps']}  success {event['eval/success']:.3f}  "
                f"turns {event['eval/turns']:.1f}  {event['cost/seconds']:.0f} s"
            )

    changes = parse_assignments(overrides or [])
    result = api.train(config, overrides=changes, out=out, resume=resume, schedule=schedule, callback=show)
    if not json_output:
        say(f"student  {expanded(out) / 'student'}\nsuccess  {result.final['eval/success']:.3f}")


# ---- what a verb comes to ------------------------------------------------------------------------------------------


def _tell_estimate(source: Path, estimate: Callable[..., Estimate], show: Progress, **given: Any) -> None:
    """What `--dry-run` prints."""
    from atod_sweep.sweep.user_code import admit

    admit(source)
    show.note("\n".join(estimate(source, show=show, **given).lines()))


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
    from atod_sweep.records import layout, ledger
    from atod_sweep.records.redaction import redacted
    from atod_sweep.sweep.record.endings import lines as endings

    folder = run.folder
    for line in endings(ledger.read(folder)):
        say(line)
    if not (folder / layout.REPORT_HTML).exists():
        return
    say(run.summary())
    say(f"\n report    {folder / layout.REPORT_HTML}")
    if (folder / layout.BEST_SCHEDULE).exists():
        say(f" schedule  {folder / layout.BEST_SCHEDULE}")
    if extensible and run.ok and run.has_open_claims:
        given = [part for part in sys.argv[1:] if part not in ("--resume", "--extend", "--overwrite")]
        say(f" next      {redacted(shlex.join(['atod-sweep', *given, '--extend', '--until-decided']))}")
