"""Data files of others, read record by record: what cannot be used is left out, counted and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError

_NAMED = 4  # records that a summary names before it only counts


class Unusable(Exception):
    """A record that cannot be used, and why: its field and what stands there."""


class Account:
    """What became of the records of one file (or folder)."""

    def __init__(self, name: str, things: str) -> None:
        self._name, self._things = name, things
        self._total = 0
        self._left_out: list[str] = []
        self._changed: list[str] = []

    def count(self) -> None:
        self._total += 1

    def leave_out(self, record: str, why: object) -> None:
        self._left_out.append(f"{record}: {why}")

    def change(self, record: str, how: str) -> None:
        """This one is used with another value than its own."""
        self._changed.append(f"{record}: {how}")

    def lines(self) -> list[str]:
        """A sentence if anything is to be said."""
        parts = []
        if self._left_out:
            many = f"{len(self._left_out):,} of {self._total:,} {self._things} left out"
            parts.append(f"{many} ({_some(self._left_out)})")
        if self._changed:
            parts.append(f"{len(self._changed):,} read with another value ({_some(self._changed)})")
        return [f"{self._name}: {'; '.join(parts)}"] if parts else []


def _some(what: list[str]) -> str:
    named = "; ".join(what[:_NAMED])
    return named if len(what) <= _NAMED else f"{named}; and {len(what) - _NAMED:,} more"


def read_json(path: Path) -> Any:
    """What a JSON file holds; of a file with one value per line (JSON lines), their list. UserError if it is neither.

    A byte order mark, as Windows writes it, is passed over.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not text.strip():
        raise UserError(f"{path}: is empty; fetch it again")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        try:
            return list(_lines(text))
        except (ValueError, RecursionError):
            raise UserError(f"{path}: is no JSON, nor JSON in lines: {error}; fetch it again") from None


def _lines(text: str) -> Iterator[Any]:
    """The values of a text with one on every line; ValueError if it has but one line."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        raise ValueError("one line")
    for line in lines:
        yield json.loads(line)


def quote(value: Any) -> str:
    """A value as a summary shows it."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 40 else f"{shown[:39]}…"
