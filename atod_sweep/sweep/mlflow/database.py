"""MLflow's sqlite file is there whole or not at all.

MLflow makes its tables in place, for seconds, and cannot go on with half of them. Here they are made in a folder of
their own beside the place, under a lock, and moved in whole.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

_PATIENCE = 5.0  # seconds for whoever holds the file at the moment, or is just making it
_LOCK_PATIENCE = 300.0  # seconds for another run that makes the file, on a machine that is busy


def ensure(uri: str, path: Path) -> None:
    """The database at `uri`, which is the file `path`, is there and whole.

    Raises whatever is wrong with it (damaged, locked, not writable, half made by somebody else).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_absent(path):
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_PATIENCE):
            if _is_absent(path):
                _make_whole(path)
    _check_writable(path)
    _open(uri, path)


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


def _make_whole(path: Path) -> None:
    """A new database at `path`; the caller holds the lock, so that other such folders were left by the dead."""
    prefix = f".{path.name}-new-"
    for left in path.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent, ignore_cleanup_errors=True) as folder:
        made = Path(folder).resolve() / path.name
        _make(made)
        made.replace(path)


def _make(path: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{path}")


def _check_writable(path: Path) -> None:
    """Raise sqlite's error if the file is damaged, locked, or may not be written: MLflow would try for minutes."""
    uri = f"file:{quote(str(path.resolve()))}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("SELECT count(*) FROM sqlite_master")
        database.execute("ROLLBACK")
