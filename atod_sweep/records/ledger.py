"""The truth about a run: JSON lines (`ledger_rows`), only ever appended to, by one process at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from atod_sweep.errors import UserError
from atod_sweep.records import layout
from atod_sweep.records.ledger_rows import FORMAT, Row, State, StudyRow, TrialRow, check_row
from atod_sweep.records.rows import read_lines, seal, whole

# What to do about a row that cannot be read.
_TRIAL = "delete this line and resume the run: the trial goes on from what is left of it"
_OTHER = "restore the file from a copy (MLflow keeps one of ended runs), or start again with --overwrite"


@dataclass(frozen=True)
class History:
    """The rows of a ledger, folded. `begun`: something was tried, so that the definition is no longer open."""

    studies: tuple[StudyRow, ...]
    trials: dict[str, TrialRow]
    begun: bool

    @property
    def study(self) -> StudyRow | None:
        """The latest definition, None if the run stopped before it began."""
        return self.studies[-1] if self.studies else None

    def count(self, state: State) -> int:
        """Trials whose last row has this state."""
        return sum(row["state"] == state for row in self.trials.values())


def nothing_in(run_dir: Path) -> UserError:
    """What to say of a folder that is none of a run."""
    what = "holds no run" if run_dir.is_dir() else "no such folder"
    return UserError(f"{run_dir}: {what}; give the folder of a run, for example runs/quickstart")


def read(run_dir: Path) -> list[Row]:
    """All whole rows; none if there is no ledger. UserError on a line that is damaged, not merely torn."""
    path = run_dir / layout.LEDGER
    rows: list[Row] = []
    lines = read_lines(path, FORMAT, lambda line: _TRIAL if b'"event": "trial"' in line else _OTHER)
    for number, row, sealed in lines:
        try:
            check_row(row, sealed)
            if not rows and row["event"] != "study":
                raise ValueError(f"a ledger begins with the study, and not with a {row['event']} row")
        except ValueError as error:
            remedy = _TRIAL if row.get("event") == "trial" else _OTHER
            raise UserError(f"{path}:{number}: {error}; {remedy}") from None
        rows.append(cast(Row, row))
    return rows


def fold(rows: Sequence[Row]) -> History:
    """Every study row with its models, and the last row of every trial (in the order in which trials first started).

    Models are built after the study row is written, and have a row of their own; older ledgers hold them in the study
    row. Definitions that were replaced before anything was tried do not count.
    """
    studies: list[StudyRow] = []
    trials: dict[str, TrialRow] = {}
    models: dict[str, Any] = {"models": {}}
    begun = False
    for row in rows:
        if row["event"] == "study":
            models = models | {key: value for key, value in row.items() if key in ("models", "pairs")}
            studies = [*(studies if begun else []), cast(StudyRow, {**row, **models})]
        elif row["event"] == "models":
            models = {"models": row["models"], "pairs": row["pairs"]}
            studies[-1] = cast(StudyRow, {**studies[-1], **models})
        else:
            begun = True
            if row["event"] == "trial":
                trials[row["trial"]] = row
    return History(tuple(studies), trials, begun)


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Nobody else writes the run; the lock dies with the process. UserError if another process holds it."""
    try:
        with FileLock(run_dir / layout.LOCK).acquire(timeout=0):
            yield
    except Timeout:
        raise UserError(f"{run_dir}: another process is running this study; wait for it, or use --name") from None


class Ledger:
    """The writer. Use as a context manager: it holds the run's lock, which dies with the process.

    It begins where the last whole row ends. UserError if the file is damaged.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._held = contextlib.ExitStack()
        self._file = -1

    def __enter__(self) -> Ledger:
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(self.run_dir))
            read(self.run_dir)
            self._file = os.open(self.run_dir / layout.LEDGER, os.O_RDWR | os.O_CREAT, 0o644)
            stack.callback(os.close, self._file)
            self._held = stack.pop_all()
        there = os.pread(self._file, os.fstat(self._file).st_size, 0)
        kept = whole(there)
        if kept != there:
            os.pwrite(self._file, kept[-1:], max(len(kept) - 1, 0))  # its newline may be missing
            os.ftruncate(self._file, len(kept))
        os.lseek(self._file, len(kept), os.SEEK_SET)
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and wait until it is on disk. A row that does not fit on the disk leaves no trace.

        ValueError for what is no row of a ledger.
        """
        check_row(row)
        end = os.lseek(self._file, 0, os.SEEK_CUR)
        data = seal(row, FORMAT)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
            raise
