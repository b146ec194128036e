"""MLflow stores where artifacts lie as whole paths: a folder of runs that was moved or copied takes them along here."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from atod_sweep.records import layout

# Where MLflow's tables hold the address of an artifact, by version some of them.
_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
}


def beside(database: Path) -> Path:
    """The folder for artifacts of a database: it goes where the database goes."""
    return database.resolve().parent / layout.MLFLOW_ARTIFACTS


def folder_of(address: str) -> Path | None:
    """The folder of a file: address; None for other addresses."""
    parts = urlparse(address)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def follow(database: Path, address: str) -> str | None:
    """One line about artifacts at `address` that do not lie beside their database; None if they do, or are remote.

    Those that were moved or copied with their database are looked up beside it from now on.
    """
    old, new = folder_of(address), beside(database)
    if old is None or old == new:
        return None
    if old.name == new.name and (not old.exists() or _came_along(database, new)):
        _rewrite(database, address, new.as_uri())
        return f"MLflow: {database} was moved or copied here; artifacts are looked up in {new}, no longer in {old}"
    return f"MLflow: artifacts go to {old}, which is not beside {database}"


def _came_along(database: Path, folder: Path) -> bool:
    """Whether artifacts of recorded runs lie in `folder`."""
    with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as file:
        runs = {run for (run,) in file.execute("SELECT run_uuid FROM runs")}
    return folder.is_dir() and any(path.name in runs for path in folder.iterdir())


def _rewrite(database: Path, old: str, new: str) -> None:
    """Put `new` in the place of `old` at the beginning of every address, in one transaction."""
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as file, file:
        for table, columns in _ADDRESSES.items():
            known = {row[1] for row in file.execute(f"PRAGMA table_info({table})")}
            for column in known.intersection(columns):
                file.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
