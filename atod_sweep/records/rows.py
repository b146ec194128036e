"""Files of JSON rows, one a line: the ledger of a run, the metrics of a trial.

A row counts once its newline is there; a torn last line is what a killed writer left, and does not count.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All whole rows, none if there is no file. UserError on a line that is damaged, not merely torn."""
    if not path.is_file():
        return []
    # Of bytes: other characters that end a line of text, such as U+2028, may stand inside a row.
    *lines, _torn = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise UserError(
                f"{path}:{number}: not a JSON row: {line[:60]!r}; restore the file, or start again with --overwrite"
            ) from None
    return rows


def rewind(path: Path, coming: list[Row]) -> None:
    """Keep only the rows that lie before the first ones of `coming`, which a resumed training is about to append."""
    first = min(row["step"] for row in coming)
    again = {(row["phase"], row["step"]) for row in coming}
    kept = [row for row in read_rows(path) if row["step"] <= first and (row["phase"], row["step"]) not in again]
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that whoever is killed meanwhile leaves the old one or the new one, and nothing between."""
    staging = path.with_suffix(".tmp")
    staging.write_text(text, encoding="utf-8")
    os.replace(staging, path)
