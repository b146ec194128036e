"""The kinds of a choice: which ones a union of records has, and tables that hold a row for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

from atod_sweep.config.base import Record

Row = TypeVar("Row")


def kinds(union: Any) -> dict[str, type[Record]]:
    """Kind -> record of every member of a union of records, in its order."""
    plain = get_args(union)[0] if get_origin(union) is Annotated else union
    return {record.model_fields["kind"].default: record for record in get_args(plain)}


def one_each(union: Any, rows: Mapping[str, Row]) -> dict[str, Row]:
    """`rows` as they are. TypeError, at import, unless there is exactly one for every kind of `union`."""
    known = kinds(union)
    if missing := [kind for kind in known if kind not in rows]:
        record = known[missing[0]]
        raise TypeError(f"no row for kind {missing[0]!r} ({record.__module__}.{record.__qualname__}) in this table")
    if unknown := [kind for kind in rows if kind not in known]:
        raise TypeError(f"a row for {unknown[0]!r}, which is no kind; known: {', '.join(known)}")
    return dict(rows)
