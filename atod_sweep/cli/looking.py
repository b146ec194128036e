"""Verbs about environments, models, spaces and files: envs, play, check, space show, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from atod_sweep.cli.app import PLAY, app, spaces
from atod_sweep.cli.printing import say
from atod_sweep.errors import UserError
from atod_sweep.paths import expanded


@app.command(rich_help_panel=PLAY)
def envs(
    env: Annotated[
        str | None, typer.Argument(help="Print this one's card: rules, limits, the demonstrator's flaw.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Seconds of play per environment.")] = 1.0,
) -> None:
    """List the shipped environments, with the speed measured here and the demonstrator's success."""
    from atod_sweep.envs import registry
    from atod_sweep.envs.speed import lines
    from atod_sweep.sweep.user_code import admit

    admit()
    if env is not None:
        say(registry.card(env))
        return
    for line in lines(seconds):
        say(line)


@app.command(rich_help_panel=PLAY)
def play(
    env: Annotated[str, typer.Argument(help="Shipped family, module:Class, or a Gymnasium id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of the environment, for example horizon=12 kwargs.style=natural."),
    ] = None,
    demonstrator: Annotated[bool, typer.Option("--demonstrator", help="Watch the environment's expert.")] = False,
    model: Annotated[Path | None, typer.Option(help="Watch a student: a model directory.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="With --model: its teacher's opinion on every turn.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first task.", min=0, max=2**31 - 1)] = 0,
    episodes: Annotated[int, typer.Option(help="Tasks to play, one seed after the other.", min=1)] = 1,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Evaluation tasks in the place of training tasks.")
    ] = False,
    temperature: Annotated[float, typer.Option(help="With --model: 0 takes the likeliest action.", min=0)] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="With --temperature: among the k likeliest tokens.", min=1)] = None,
    top_p: Annotated[float | None, typer.Option(help="With --temperature: among those of this share.")] = None,
    min_p: Annotated[float | None, typer.Option(help="With --temperature: from this times the likeliest on.")] = None,
    action_tokens: Annotated[int, typer.Option(help="With --model: longest action, in tokens.", min=1)] = 32,
) -> None:
    """Play an environment in the terminal, or watch its expert or a student; Ctrl-D leaves."""
    from atod_sweep.config.base import parse_assignments, validate, with_overrides
    from atod_sweep.config.train import Env, Evaluation
    from atod_sweep.envs import play as playing
    from atod_sweep.envs import registry
    from atod_sweep.sweep.user_code import admit

    admit()
    data = {"id": env, "horizon": registry.usual_horizon(env), "kwargs": {}}
    config = validate(Env, with_overrides(Env, data, parse_assignments(overrides or [])), "play")
    if demonstrator and model:
        raise UserError(f"--demonstrator and --model {model}: only one can play; drop one of them")
    if teacher and not model:
        raise UserError(f"--teacher {teacher}: is asked about a student's turns; name the student with --model")
    model, teacher = (folder and expanded(folder) for folder in (model, teacher))
    for folder in (model, teacher):
        if folder and not folder.is_dir():
            raise UserError(f"model directory {str(folder)!r} does not exist; training leaves one in OUT/student")
    if model:
        from atod_sweep.training.play.truncation import Truncation
        from atod_sweep.training.play.watch import Student

        how = validate(Evaluation, {"top_k": top_k, "top_p": top_p, "min_p": min_p}, "play")
        choose: playing.Chooser = Student(model, teacher, action_tokens, temperature, Truncation.of(how))
    elif demonstrator:
        choose = playing.demonstrator
    else:
        choose = playing.Person(input, say)
        say("one action per line; ? lists the legal ones, Ctrl-D leaves")
    playing.play(config, choose, range(seed, seed + episodes), "eval" if held_out else "train", say)


@app.command(rich_help_panel=PLAY)
def check(
    model: Annotated[str, typer.Argument(help="Model directory or hub id.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings of the model, for example dtype=bfloat16.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Model directory or hub id of its teacher.")] = None,
) -> None:
    """Check that a model, and its teacher, can be trained here: rollouts and updates that compute what it computes."""
    from atod_sweep import api
    from atod_sweep.config.base import parse_assignments

    say("\n".join(api.check(model, teacher=teacher, overrides=parse_assignments(overrides or []))))


@spaces.command("show")
def show_space(
    file: Annotated[Path, typer.Argument(help="Search file (YAML).")],
    samples: Annotated[int, typer.Option(min=0, help="Samples to draw.")] = 5,
) -> None:
    """Show a search space: its tree, its size, and samples as they reach the trainer."""
    from atod_sweep.sweep.searches.show import space_lines

    say("\n".join(space_lines(file, samples)))


@app.command(rich_help_panel=PLAY)
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
    say(json.dumps(known[what].model_json_schema(), indent=2))
