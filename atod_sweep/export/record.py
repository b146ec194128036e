"""provenance.json as a file, and reading an export that anybody may have edited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.export import manifest

PROVENANCE = "provenance.json"
FORMAT = "atod-sweep/provenance/2"  # 1: exports that had no manifest


def dump(record: dict[str, Any]) -> str:
    """The text of the file."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def read(folder: Path) -> dict[str, Any]:
    """The record of an export. UserError if it is not there or damaged."""
    path = folder / PROVENANCE
    text = read_text(path)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}; export again") from None
    if not isinstance(record, dict) or dump(record) != text:
        raise UserError(f"{path}: is not as an export writes it; export again")
    if record.get("format") == FORMAT and not (folder / manifest.FILE_NAME).is_file():
        raise UserError(f"{folder / manifest.FILE_NAME}: is missing; export again")
    return record


def read_text(path: Path) -> str:
    """A file of an export as it is, line ends included. UserError if it is not there, or no text."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError:
        raise UserError(f"{path}: is missing from the export; export again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); export again") from None


@contextmanager
def complete(folder: Path) -> Iterator[None]:
    """For what is derived from the record of `folder`: UserError for what it lacks."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"{folder / PROVENANCE}: does not hold what an export records: {error!r}; export again"
        ) from None


def vouched(folder: Path, digest: str | None) -> str:
    """What is said of an export's manifest after everything else was found right. UserError if it was tampered with."""
    found = manifest.digest_of(folder)
    if found is None:
        if digest is not None:
            raise UserError(f"{folder}: was made before exports had a digest, so {digest!r} cannot be compared")
        return f"made before exports had a manifest: nothing vouches for {PROVENANCE} itself"
    manifest.check(folder)
    if digest is None:
        return f"sha256 {found}: the same as the export said, if nobody exchanged it"
    if digest.removeprefix("sha256:").strip().lower() != found:
        raise UserError(f"{folder}: --digest {digest!r}: its manifest's SHA-256 is {found}; this is another export")
    return f"sha256 {found}, as given"
