"""Whose code is imported: installed packages, and where studies are run, what lies in the user's folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from atod_sweep.paths import expanded
from atod_sweep.records import ledger


def admit(*sources: Any) -> None:
    """Let `env.id: my_module:MyEnv` name a module in the current folder, or in that of a study, search or config.

    `sources` that are no files (a mapping, a shipped name) add no folder. Folders come last on the path: a `numpy.py`
    that lies there is not numpy. What only reads never calls this.
    """
    files = (expanded(source) for source in sources if isinstance(source, str | Path))
    folders = [os.getcwd(), *(str(file.resolve().parent) for file in files if file.is_file())]
    sys.path.extend(folder for folder in dict.fromkeys(folders) if folder not in sys.path)


def as_driver(cwd: str, sys_path: list[str]) -> None:
    """Import and resolve paths as the driver does: Ray starts workers in a folder of its own."""
    if Path(cwd).is_dir():
        os.chdir(cwd)
    sys.path[:] = [*sys_path, *(entry for entry in sys.path if entry not in sys_path)]


def started_from(run_dir: Path) -> list[str]:
    """The files from which a run was started or extended, as its ledger tells."""
    words = [word for row in ledger.read(run_dir) if row["event"] == "study" for word in row["argv"]]
    return [word for word in words if word.endswith((".yaml", ".yml"))]


def command(verb: str, source: Any) -> tuple[str, ...]:
    """What the ledger records as the command: that of the command line, or this call from a program of the user's."""
    if Path(sys.argv[0]).name in ("atod-sweep", "__main__.py"):
        return tuple(sys.argv)
    return (f"atod_sweep.{verb}", str(source) if isinstance(source, str | Path) else type(source).__name__)
