"""Mistakes at the command line, tried one after another. As a script: those of a folder's table, in this process."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import typer.main

from atod_sweep import cli

HEAVY = {"torch", "ray", "mlflow", "transformers", "matplotlib"}


def answers(rows: list[dict[str, Any]], top: Path) -> dict[str, dict[str, Any]]:
    """What each was answered, what it left behind and what it imported, by its name; each in a folder of its own."""
    found = {}
    for number, row in enumerate(rows):
        folder = top / f"{row['heavy']}-{number}"
        folder.mkdir()
        for name, text in row["files"].items():
            latin = row["what"] in ("Latin-1", "UTF-16")
            (folder / name).write_bytes(text.encode("latin-1" if latin else "utf-8"))
        os.chdir(folder)
        sys.argv = ["atod-sweep", *row["words"]]
        before = HEAVY & sys.modules.keys()
        code, out, err = 0, io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code or 0
            except BaseException as error:
                code = repr(error)
        left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts)
        brought = sorted(HEAVY & sys.modules.keys() - before)
        found[row["what"]] = {"code": code, "err": err.getvalue(), "left": left, "brought": brought}
    return found


if __name__ == "__main__":
    typer.main.get_command = functools.cache(typer.main.get_command)  # not anew for every row
    here = Path(sys.argv[1])
    found = answers(json.loads((here / "table.json").read_text()), here)
    (here / "found.json").write_text(json.dumps(found))
