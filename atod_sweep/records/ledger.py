"""The truth about a run: JSON lines, only ever appended to, by one process at a time.

A row counts once its newline is on disk; a torn last line is what a killed writer left, and does not count.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from filelock import FileLock, Timeout

from atod_sweep.errors import UserError
from atod_sweep.records.rows import read_rows

Row = dict[str, Any]
State = Literal["RUNNING", "COMPLETE", "PRUNED", "FAILED"]
NAME = "ledger.jsonl"


@dataclass(frozen=True)
class History:
    """The rows of a ledger, folded. `begun`: something was tried, so that the definition is no longer open."""

    studies: tuple[Row, ...]
    trials: dict[str, Row]
    begun: bool

    @property
    def study(self) -> Row | None:
        """The latest definition, None if the run stopped before it began."""
        return self.studies[-1] if self.studies else None

    def count(self, state: State) -> int:
        """Trials whose last row has this state."""
        return sum(row["state"] == state for row in self.trials.values())


def read(run_dir: Path) -> list[Row]:
    """All whole rows; none if there is no ledger. UserError on a line that is damaged, not merely torn."""
    return read_rows(run_dir / NAME)


def fold(rows: list[Row]) -> History:
    """Every study row with its models, and the last row of every trial (in the order in which trials first started).

    Models are built after the study row is written, and have a row of their own (`models`); older ledgers hold them in
    the study row. Definitions that were replaced before anything was tried do not count.
    """
    studies: list[Row] = []
    models: Row = {"models": {}}
    begun = False
    for row in rows:
        if row["event"] == "study":
            models = models | {key: row[key] for key in ("models", "pairs") if key in row}
            studies = [*(studies if begun else []), row | models]
        elif row["event"] == "models":
            models = {key: row[key] for key in ("models", "pairs")}
            studies[-1] = studies[-1] | models
        else:
            begun = True
    return History(tuple(studies), {row["trial"]: row for row in rows if row["event"] == "trial"}, begun)


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Nobody else writes the run; the lock dies with the process. UserError if another process holds it."""
    try:
        with FileLock(run_dir / "ledger.lock").acquire(timeout=0):
            yield
    except Timeout:
        raise UserError(f"{run_dir}: another process is running this study; wait for it, or use --name") from None


class Ledger:
    """The writer. Use as a context manager: it holds the run's lock, which dies with the process."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / NAME
        self._lock = locked(run_dir)
        self._file = -1

    def __enter__(self) -> Ledger:
        self._lock.__enter__()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        size = os.fstat(self._file).st_size
        whole = os.pread(self._file, size, 0).rfind(b"\n") + 1
        os.ftruncate(self._file, whole)
        os.lseek(self._file, whole, os.SEEK_SET)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)
        self._lock.__exit__(None, None, None)

    def append(self, row: Row) -> None:
        """Write one row and wait until it is on disk. A row that does not fit on the disk leaves no trace."""
        end = os.lseek(self._file, 0, os.SEEK_CUR)
        data = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
            raise
