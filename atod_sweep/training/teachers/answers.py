"""Answers that have been paid for, on disk: a resumed or repeated trial asks no question twice.

One SQLite file for each model, which many trials share. Answers are written before they are used, in a transaction
of their own, so that whoever is killed at any moment leaves all earlier ones; it is compressed, and with that under a
checksum. A file that is damaged nevertheless is put aside, and a new one is begun.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from atod_sweep.paths import cache_dir

T = TypeVar("T")
log = logging.getLogger(__name__)


def place(name: str) -> Path:
    """The file of a model's answers."""
    safe = "".join(c if c.isalnum() or c in "-._" else "-" for c in name)[:60]
    return cache_dir() / "answers" / f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.sqlite"


def key_of(question: Any) -> bytes:
    """What identifies a question: JSON-able data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).digest()


class Answers:
    """Question -> answer, JSON-able data both. Raises OSError where the file cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file: sqlite3.Connection | None = None

    def get(self, question: Any) -> Any | None:
        """The answer; None if there is none, or none that is whole."""
        select = "SELECT answer FROM answers WHERE question = ?"
        row = self._at_work(lambda file: file.execute(select, (key_of(question),)).fetchone())
        if row is None:
            return None
        try:
            return json.loads(zlib.decompress(row[0]))
        except (zlib.error, ValueError, TypeError):
            return None

    def put(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Keep answers to questions; when this returns, no kill takes them away."""
        rows = [(key_of(question), zlib.compress(json.dumps(answer).encode(), 1)) for question, answer in pairs]

        def write(file: sqlite3.Connection) -> None:
            with file:
                file.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)

        self._at_work(write)

    def close(self) -> None:
        """Let go of the file, which the next question opens again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _at_work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                return work(self._opened())
            except sqlite3.OperationalError as error:
                raise OSError(f"{self.path}: {error}") from error
            except sqlite3.DatabaseError as error:
                self._put_aside(error)
                return work(self._opened())

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._file = sqlite3.connect(self.path, timeout=60.0, check_same_thread=False)
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS answers (question BLOB PRIMARY KEY, answer BLOB NOT NULL)")
        return self._file

    def _put_aside(self, error: Exception) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        aside = self.path.with_suffix(".damaged")
        log.warning(
            "%s is damaged (%s): it is put aside as %s, and its answers are asked for again", self.path, error, aside
        )
        for end in ("", "-journal"):
            old = Path(f"{self.path}{end}")
            if old.exists():
                old.replace(f"{aside}{end}")
