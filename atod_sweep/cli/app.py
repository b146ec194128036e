"""The app that every verb joins, and the console script. Heavy imports happen inside verbs: --help answers at once."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from atod_sweep.cli.printing import say
from atod_sweep.cli.usage import told
from atod_sweep.errors import UserError

app = typer.Typer(
    help="Hyperparameter search and ablation studies for annealed, turn-aware on-policy distillation (ATOD).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TRAIN, READ, PLAY = "Train", "Read and export", "Look around"


def _version(asked: bool) -> None:
    if asked:
        from atod_sweep import __version__

        say(f"atod-sweep {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


spaces = typer.Typer(help="Search spaces: show.", no_args_is_help=True)
app.add_typer(spaces, name="space", rich_help_panel=PLAY)


def main() -> None:
    """Entry point: UserError becomes one line on stderr and exit code 2. No credential of a URI is printed."""
    try:
        sys.exit(app(standalone_mode=False))
    except UserError as error:
        _complain(f"{error}\n")
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Ctrl-C in the middle of a library's own code, which made this of it
            sys.exit(130)
        if line := told(error):
            _complain(f"{line}\n")
            sys.exit(2)
        sys.excepthook = lambda *error: _complain("".join(traceback.format_exception(*error)))
        raise


def _complain(text: str) -> None:
    from atod_sweep.records.redaction import redacted

    say(redacted(text), err=True, nl=False)
