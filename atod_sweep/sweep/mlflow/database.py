"""MLflow's sqlite file is there whole or not at all.

MLflow makes its tables in place, for seconds, and cannot go on with half of them. Here they are made in a folder of
their own beside the place, under a lock, and moved in whole; a file that somebody else left half made is filled in the
same way, if nothing was ever recorded in it.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

_PATIENCE = 5.0  # seconds for whoever holds the file at the moment, or is just making it
_LOCK_PATIENCE = 300.0  # seconds for another run that makes the file, on a machine that is busy
_SEEDED = ("alembic_version", "experiments", "workspaces")  # tables that are not empty where nothing was recorded


def ensure(uri: str, path: Path, say: Callable[[str], None]) -> None:
    """The database at `uri`, which is the file `path`, is there and whole.

    Raises whatever is wrong with it (damaged, locked, not writable). `say` gets a line if something was moved aside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_absent(path):
        with _lock(path):
            if _is_absent(path):
                with _made(path) as whole:
                    whole.replace(path)
    _check_writable(path)
    try:
        _open(uri, path)
    except Exception:
        if not _holds_nothing(path):
            raise
    else:
        return
    with _lock(path):
        try:
            _open(uri, path)  # another run was faster
        except Exception:
            aside = _fill(path)
            say(f"MLflow: {path} was left half made, with nothing in it; made anew (the old one is {aside.name})")


def _open(uri: str, path: Path) -> None:
    """Let MLflow open the file, and wait if someone is just making it who knows nothing of our lock (MLflow's UI)."""
    from mlflow import MlflowClient

    began, touched = time.monotonic(), path.stat().st_mtime
    while True:
        try:
            MlflowClient(tracking_uri=uri)
        except Exception:
            if time.time() - touched > _PATIENCE or time.monotonic() - began > _PATIENCE:
                raise
            time.sleep(0.5)
        else:
            return


def _is_absent(path: Path) -> bool:
    """Also for an empty file, which is what whoever dies first of all leaves."""
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def _lock(path: Path) -> FileLock:
    return FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_PATIENCE)


@contextlib.contextmanager
def _made(path: Path) -> Iterator[Path]:
    """A new database near `path`; the caller holds the lock, so that other such folders were left by the dead."""
    prefix = f".{path.name}-new-"
    for left in path.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent)).resolve()
    try:
        _make(folder / path.name)
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(path: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{path}")


def _check_writable(path: Path) -> None:
    """Raise sqlite's error if the file is damaged, locked, or may not be written: MLflow would try for minutes."""
    with contextlib.closing(sqlite3.connect(_uri(path, "rw"), uri=True, timeout=_PATIENCE)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("SELECT count(*) FROM sqlite_master")
        database.execute("ROLLBACK")


def _holds_nothing(path: Path) -> bool:
    """Whether no run, model or anything else was ever recorded in the file."""
    with contextlib.closing(sqlite3.connect(_uri(path, "ro"), uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        used = [f'SELECT 1 FROM "{name}"' for name in tables if name not in _SEEDED]
        if "experiments" in tables:
            used.append("SELECT 1 FROM experiments WHERE name != 'Default'")
        return not any(database.execute(f"{query} LIMIT 1").fetchone() for query in used)


def _fill(path: Path) -> Path:
    """Put a new database into the file, in one transaction of sqlite's; returns the copy of what was there."""
    aside = path.with_name(f"{path.name}.half-made-{time.strftime('%Y%m%d-%H%M%S')}")
    with _made(path) as whole:
        shutil.copy2(path, aside)
        with (
            contextlib.closing(sqlite3.connect(whole)) as source,
            contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE)) as target,
        ):
            source.backup(target)
    return aside


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.resolve()))}?mode={mode}"
