"""study.yaml or search.yaml in the folder of a run: what the run was started from, as its ledger vouches for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from atod_sweep.errors import UserError
from atod_sweep.records import layout
from atod_sweep.records.ledger_rows import Row


def fingerprint(data: bytes) -> str:
    """What a study row records of its file."""
    return hashlib.sha256(data).hexdigest()


def read(path: Path, rows: Iterable[Row]) -> str:
    """The text of the file at `path`, checked against the rows of its ledger. UserError if it is gone or another.

    It may be that of any study row: a new definition is in the ledger before its file is written. Rows of the first
    versions vouch for nothing.
    """
    verb = "search" if path.name == layout.SEARCH else "run"
    again = f"atod-sweep {verb} YOUR.yaml --resume --out {path.parent.parent} --name {path.parent.name}"
    remedy = f"put it back, or go on from your own copy: {again}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: is gone; {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; {remedy}") from None
    known = {row["file_sha256"] for row in rows if row["event"] == "study" and "file_sha256" in row}
    if known and fingerprint(data) not in known:
        raise UserError(f"{path}: is not the file that the run was started from, as its ledger has it; {remedy}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); {remedy}") from None
