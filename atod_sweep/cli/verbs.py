"""The command line: verbs only. Every heavy import happens inside a verb, so that --help answers at once."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from atod_sweep.cli.ending import close
from atod_sweep.cli.options import (
    DryRun,
    JsonEvents,
    Overrides,
    RunDir,
    RunOptions,
    StartOptions,
    TrackingUri,
    with_run_options,
)
from atod_sweep.cli.user_code import admit
from atod_sweep.errors import UserError

app = typer.Typer(
    help="Hyperparameter search and ablation studies for annealed, turn-aware on-policy distillation (ATOD).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

spaces = typer.Typer(help="Search spaces: show.", no_args_is_help=True)
app.add_typer(spaces, name="space")


@app.command()
@with_run_options
def run(
    *,
    study: Annotated[Path, typer.Argument(help="Study file (YAML).")],
    overrides: Overrides = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds, in the place of the study's.")] = None,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add seeds until all hypotheses are decided, by a sequential rule.")
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

        admit(study)
        changes = parse_assignments(overrides or [])
        rule = rule_for(until_decided, max_seeds=max_seeds, block=block)
        if dry_run:
            from atod_sweep.sweep.studies.run_study import dry_run as estimate

            found = estimate(study, overrides=changes, seeds=seeds, until_decided=rule, show=show, **options.place())
            typer.echo("\n".join(found.lines()))
            return
        done = api.run(
            study, overrides=changes, seeds=seeds, until_decided=rule or False, show=show, **options.keywords()
        )
        close(done, json_output, extensible=not until_decided)


@app.command()
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
        from atod_sweep.records.rows import read_rows

        words = [word for row in read_rows(run_dir / "ledger.jsonl") for word in row.get("argv", [])]
        admit(*(Path(word) for word in words if word.endswith((".yaml", ".yml"))))
        close(api.resume(run_dir, show=show, **options.keywords()), json_output)


@app.command()
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

        admit(space)
        changes = parse_assignments(overrides or [])
        if dry_run:
            from atod_sweep.sweep.searches.run_search import dry_run as estimate

            found = estimate(space, overrides=changes, configurations=configurations, show=show, **options.place())
            typer.echo("\n".join(found.lines()))
            return
        done = api.search(space, overrides=changes, configurations=configurations, show=show, **options.keywords())
        close(done, json_output)


@spaces.command("show")
def show_space(
    file: Annotated[Path, typer.Argument(help="Search file (YAML).")],
    samples: Annotated[int, typer.Option(help="Samples to draw.")] = 5,
) -> None:
    """Show a search space: its tree, its size, and samples as they reach the trainer."""
    from atod_sweep.sweep.searches.show import space_lines

    typer.echo("\n".join(space_lines(file, samples)))


@app.command()
def sync(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run that nobody is writing.")],
    tracking_uri: TrackingUri = None,
) -> None:
    """Bring MLflow up to a run's ledger."""
    from atod_sweep.sweep.mlflow.mirror import default_uri
    from atod_sweep.sweep.mlflow.mirror import sync as catch_up

    typer.echo(f"{catch_up(run_dir, tracking_uri or default_uri(run_dir.parent))} trials are in MLflow")


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="Trainer config: presets/NAME or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Dotted overrides, for example steps=100.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, metrics and the student.")] = Path(
        "runs/train"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    schedule: Annotated[Path | None, typer.Option(help="Exported schedule bundle to train with.")] = None,
    json_output: JsonEvents = False,
) -> None:
    """Train one student, without Ray and MLflow."""
    from atod_sweep.config.base import parse_assignments
    from atod_sweep.config.files import load_train

    admit(Path(config))
    changes = parse_assignments(overrides or [])
    if schedule is None:
        resolved = load_train(config, changes)
    else:
        from atod_sweep.export.schedule.schedule_file import load_train_with

        resolved = load_train_with(schedule, config, changes)

    from atod_sweep.training.loop.recorded import train_into

    def show(last: dict[str, Any]) -> None:
        if json_output:
            typer.echo(json.dumps(last))
        else:
            typer.echo(
                f"step {last['step']:>5}/{resolved.steps}  success {last['eval/success']:.3f}  "
                f"turns {last['eval/turns']:.1f}  {last['cost/seconds']:.0f} s"
            )

    result = train_into(out, resolved, resume, lambda line: typer.echo(line, err=True), show)
    if not json_output:
        typer.echo(f"student  {out / 'student'}\nsuccess  {result.final['eval/success']:.3f}")
        if "final/success" in result.final:
            typer.echo(f"final    {result.final['final/success']:.3f}, on task sets that training never saw")


@app.command()
def report(
    run_dir: RunDir,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="html, md or pdf (needs Chromium); repeatable; default: html, md."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; default: the run's own.")] = None,
) -> None:
    """Rebuild a run's report, tables and figures from its files alone."""
    from atod_sweep.evidence.report.write import write
    from atod_sweep.training import NUMERICS

    paths = write(run_dir, NUMERICS, formats or ("html", "md"), out)
    typer.echo("\n".join(f"{name:10}{path}" for name, path in paths.documents.items()))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    all_claims: Annotated[
        bool, typer.Option("--claims", help="All claims of all runs as one Markdown table, also for two runs.")
    ] = False,
) -> None:
    """Put two runs side by side: how they were made, and what came out. Other numbers of runs: all their claims."""
    from atod_sweep.evidence.report.compare import text
    from atod_sweep.training import NUMERICS

    typer.echo("\n".join(text(runs, all_claims, NUMERICS)))


@app.command()
def export(
    run_dir: RunDir,
    to: Annotated[
        str, typer.Option("--to", help="bundle, the framework that shall run it (see the README), or all of them.")
    ] = "bundle",
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; default: RUN/export/TARGET.")] = None,
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
    tracking_uri: TrackingUri = None,
) -> None:
    """Write the best schedule in a form that other trainers can run, or the best student (--model)."""
    from atod_sweep.config.base import parse_assignments
    from atod_sweep.export.schedule import bundle

    levels = {factor: str(level) for factor, level in parse_assignments(at or []).items()}
    if register is not None and not model:
        raise UserError(f"--register {register!r}: registers a student; add --model")
    if not model:
        folder = bundle.write(run_dir, out or run_dir / "export" / to, steps, horizon, levels or None, to, allow_lossy)
        typer.echo("\n".join(bundle.lines(folder)))
        return

    from atod_sweep.export import manifest
    from atod_sweep.export.student import model as student
    from atod_sweep.training.loop.standalone import save_standalone

    if steps or horizon or to != "bundle" or allow_lossy:
        raise UserError(
            "--model: exports a student as it was trained; --allow-lossy, --to, --steps and --horizon are for schedules"
        )
    folder = student.write(run_dir, out or run_dir / "export" / "model", save_standalone, levels or None)
    typer.echo(f"model            {folder}\nsha256           {manifest.digest_of(folder)}")
    if register is not None:
        from atod_sweep.sweep.mlflow.mirror import default_uri
        from atod_sweep.sweep.mlflow.model_registry import register as enter

        version = enter(run_dir, folder, register, tracking_uri or default_uri(run_dir.parent))
        typer.echo(f"registered       models:/{register}/{version}")


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of an exported bundle or model.")],
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code that it brings or names: kind: custom, an environment of yours.")
    ] = False,
    digest: Annotated[str | None, typer.Option(help="SHA-256 that the export was announced with.")] = None,
) -> None:
    """Re-derive everything in a bundle, or check and play an exported model; fail on any difference."""
    from atod_sweep import api

    if trust:
        admit()
    for line in api.verify(bundle, trust=trust, digest=digest):
        typer.echo(line)


@app.command()
def envs(
    env: Annotated[
        str | None, typer.Argument(help="Print this one's card: rules, limits, the demonstrator's flaw.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Seconds of play per environment.")] = 1.0,
) -> None:
    """List the shipped environments, with the speed measured here and the demonstrator's success."""
    from atod_sweep.envs import registry as registry
    from atod_sweep.envs.speed import lines

    admit()
    if env is not None:
        typer.echo(registry.card(env))
        return
    for line in lines(seconds):
        typer.echo(line)


@app.command()
def play(
    env: Annotated[str, typer.Argument(help="Shipped family, module:Class, or a Gymnasium id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of the environment, for example horizon=12 kwargs.style=natural."),
    ] = None,
    demonstrator: Annotated[bool, typer.Option("--demonstrator", help="Watch the environment's expert.")] = False,
    model: Annotated[Path | None, typer.Option(help="Watch a student: a model directory.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="With --model: its teacher's opinion on every turn.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first task.")] = 0,
    episodes: Annotated[int, typer.Option(help="Tasks to play, one seed after the other.", min=1)] = 1,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Evaluation tasks in the place of training tasks.")
    ] = False,
    temperature: Annotated[float, typer.Option(help="With --model: 0 takes the likeliest action.", min=0)] = 0.0,
    action_tokens: Annotated[int, typer.Option(help="With --model: longest action, in tokens.", min=1)] = 32,
) -> None:
    """Play an environment in the terminal, or watch its expert or a student; Ctrl-D leaves."""
    from atod_sweep.config.base import parse_assignments, validate, with_overrides
    from atod_sweep.config.train import Env
    from atod_sweep.envs import play as playing
    from atod_sweep.envs import registry as registry

    admit()
    data = {"id": env, "horizon": registry.usual_horizon(env), "kwargs": {}}
    config = validate(Env, with_overrides(Env, data, parse_assignments(overrides or [])), "play")
    if demonstrator and model:
        raise UserError(f"--demonstrator and --model {model}: only one can play; drop one of them")
    if teacher and not model:
        raise UserError(f"--teacher {teacher}: is asked about a student's turns; name the student with --model")
    for folder in (model, teacher):
        if folder and not folder.is_dir():
            raise UserError(f"model directory {str(folder)!r} does not exist; training leaves one in OUT/student")
    if model:
        from atod_sweep.training.play.watch import Student

        choose: playing.Chooser = Student(model, teacher, action_tokens, temperature)
    elif demonstrator:
        choose = playing.demonstrator
    else:
        choose = playing.Person(input, typer.echo)
        typer.echo("one action per line; ? lists the legal ones, Ctrl-D leaves")
    playing.play(config, choose, range(seed, seed + episodes), "eval" if held_out else "train", typer.echo)


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="study, search, or train for a trainer config.")] = "study",
) -> None:
    """Print the JSON schema of a file, so that an editor can complete and check it."""
    from atod_sweep.config.base import Record
    from atod_sweep.config.search import Search
    from atod_sweep.config.study import Study
    from atod_sweep.config.train import Train

    known: dict[str, type[Record]] = {"study": Study, "search": Search, "train": Train}
    if what not in known:
        raise UserError(f"unknown schema {what!r}; known: {', '.join(known)}")
    typer.echo(json.dumps(known[what].model_json_schema(), indent=2))


def main() -> None:
    """Entry point: UserError becomes one line on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
