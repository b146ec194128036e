"""Files of JSON rows, one a line: the ledger of a run, the metrics of a trial. Sealed when written, checked when read.

    {"format": "atod-sweep/ledger/1", …, "check": "93b1…"}

`format` names what the row is and in which version; `check` is the beginning of the SHA-256 of all bytes of the line
before it, so that no flipped bit goes unnoticed. Rows of the first versions have neither, and are read as they are.

A row counts once all of it is on disk. What a killed writer left of its last one is no row, and no damage.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from atod_sweep.errors import UserError

_SEAL = re.compile(rb', "check": "[0-9a-f]{16}"\}\Z')
_SEAL_AND_NO_NEWLINE = re.compile(_SEAL.pattern.replace(rb"\Z", rb".?\Z"), re.DOTALL)


class Line(NamedTuple):
    """A row as it stands in its file. `sealed`: it has a format and a checksum, which is right."""

    number: int
    row: dict[str, Any]
    sealed: bool


def seal(row: Mapping[str, Any], form: str) -> bytes:
    """The line, its end included, that holds a row of the format `form`."""
    # Half of a surrogate pair, which some environments utter, has no UTF-8: it is written as JSON escapes it.
    text = json.dumps({"format": form, **row}, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return _sealed(text[:-1]) + b"\n"


def _sealed(body: bytes) -> bytes:
    return body + b', "check": "' + hashlib.sha256(body).hexdigest()[:16].encode() + b'"}'


def whole(data: bytes) -> bytes:
    """The content of a file up to the end of its last whole row, with that row's newline."""
    rows, newline, last = data.rpartition(b"\n")
    # A torn row has no checksum yet: of this one only the newline is missing, or has become another byte.
    return data + b"\n" if _SEAL_AND_NO_NEWLINE.search(last) else rows + newline


def read_lines(path: Path, form: str, remedy: Callable[[bytes], str]) -> list[Line]:
    """All whole rows of a file, none if it is not there; without their `format` and `check`.

    UserError for a line that is damaged, not merely torn, or in a format other than `form`; `remedy` says what to do
    about such a line.
    """
    return lines_of(path.read_bytes() if path.is_file() else b"", path, form, remedy)


def lines_of(data: bytes, path: Path, form: str, remedy: Callable[[bytes], str]) -> list[Line]:
    """The same of what was read from `path`."""
    found = []
    # Of bytes: other characters that end a line of text, such as U+2028, may stand inside a row.
    for number, line in enumerate(whole(data).split(b"\n")[:-1], start=1):
        try:
            found.append(Line(number, *unseal(line, form)))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}: {line[:60]!r}; {remedy(line)}") from None
    return found


def unseal(line: bytes, form: str) -> tuple[dict[str, Any], bool]:
    """The row in a line without its newline, and whether it is sealed. ValueError that says what is wrong with it."""
    sealed = _SEAL.search(line)
    if sealed and line != _sealed(line[: sealed.start()]):
        raise ValueError("damaged, its checksum is another")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not a JSON row") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    if not sealed and row.keys() & {"format", "check"}:
        raise ValueError("damaged, its checksum is gone")
    if sealed and row.get("format") != form:
        raise ValueError(f"in the format {row.get('format')!r}, and this version of atod-sweep reads {form!r}")
    return {key: value for key, value in row.items() if key not in ("format", "check")}, sealed is not None


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that whoever is killed meanwhile leaves the old one or the new one, and nothing between."""
    staging = path.with_suffix(".tmp")
    staging.write_bytes(data.encode() if isinstance(data, str) else data)
    os.replace(staging, path)
