"""Verbs about what is there: shipped studies, a folder to start in, runs and where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atod_sweep.cli.app import PLAY, app
from atod_sweep.cli.options import RunDir
from atod_sweep.cli.printing import say
from atod_sweep.errors import UserError
from atod_sweep.paths import expanded, written


@app.command("list", rich_help_panel=PLAY)
def shipped() -> None:
    """List the studies, search spaces and trainer configs that ship with the package."""
    from atod_sweep.config.files import preset_names
    from atod_sweep.config.shipped import Kind, listing

    kinds: tuple[tuple[str, Kind, str], ...] = (
        ("studies", "studies", "atod-sweep run NAME"),
        ("search spaces", "search_spaces", "atod-sweep search NAME"),
    )
    for title, kind, command in kinds:
        say(f"{title}: {command}")
        found = listing(kind)
        width = max(len(one.name) for one in found)
        for one in found:
            time = f"  ({one.time})" if one.time else ""
            say(f"  {one.name:{width}}  {one.question}{time}")
        say("")
    say("trainer configs: atod-sweep train presets/NAME")
    for name in preset_names():
        say(f"  presets/{name}")


@app.command(rich_help_panel=PLAY)
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write into; made if it is not there.")] = Path("."),
) -> None:
    """Write a first study, a search space and an environment of your own to edit."""
    from atod_sweep.config import shipped

    folder = expanded(folder)
    starter = shipped.folder("studies") / "starter"
    names = sorted(path.name for path in starter.iterdir() if path.is_file())
    if there := [name for name in names if (folder / name).exists()]:
        raise UserError(f"{folder / there[0]}: exists already, and is not overwritten; name another folder")
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text((starter / name).read_text(encoding="utf-8"), encoding="utf-8")
    for name in names:
        say(folder / name)
    say(f"\nnext  atod-sweep run {folder / 'study.yaml'}")


@app.command(rich_help_panel=PLAY)
def status(run_dir: RunDir) -> None:
    """Tell where a run stands, also while another terminal runs it."""
    from atod_sweep.sweep.record.overview import overview

    for line in overview(expanded(run_dir)).lines():
        say(line)


@app.command("ls", rich_help_panel=PLAY)
def runs(
    out: Annotated[Path, typer.Argument(help="Folder that holds one subfolder per run.")] = Path("runs"),
) -> None:
    """List the runs in a folder, the latest first."""
    from atod_sweep.sweep.record.overview import runs_in

    for line in runs_in(expanded(out)) or [f"{out} holds no runs"]:
        say(line)
