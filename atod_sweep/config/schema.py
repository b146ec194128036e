"""Walking the fields of records: which records a key of a file can lead to, and which keys there are."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from atod_sweep.errors import UserError


def _members(annotation: Any) -> Iterator[Any]:
    """The plain types inside an annotation: Annotated and unions taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for arg in get_args(annotation):
            yield from _members(arg)
    else:
        yield annotation


def records(annotation: Any, kind: Any = None) -> list[type[BaseModel]]:
    """Record classes an annotation admits; narrowed to the one tagged `kind` where there is such a one."""
    found = [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
    tagged = [m for m in found if "kind" in m.model_fields and m.model_fields["kind"].default == kind]
    return tagged or found


def _is_free_form(annotation: Any) -> bool:
    return any(get_origin(m) in (dict, Mapping) or m in (dict, Any) for m in _members(annotation))


def _items(annotation: Any) -> Iterator[Any]:
    """What the lists inside an annotation hold."""
    for member in _members(annotation):
        if get_origin(member) in (list, tuple):
            yield from get_args(member)


def records_at(model: type[BaseModel], path: Sequence[str]) -> list[type[BaseModel]]:
    """Record classes that may stand at a path; of a list, those of its items, with and without an index behind it."""
    classes: list[type[BaseModel]] = [model]
    for part in path:
        if part.isdigit():
            continue
        owners = [cls.model_fields[part].annotation for cls in classes if part in cls.model_fields]
        found = (cls for owner in owners for kind in (owner, *_items(owner)) for cls in records(kind))
        classes = list(dict.fromkeys(found))
    return classes


def check_key(model: type[BaseModel], key: str) -> None:
    """UserError, naming the nearest one, unless there is such a dotted key; every member of a union is searched."""
    parts = key.split(".")
    for i, part in enumerate(parts):
        classes = records_at(model, parts[:i])
        fields = {name: field.annotation for cls in classes for name, field in cls.model_fields.items()}
        if part not in fields:
            why = {name: reason for cls in classes for name, reason in getattr(cls, "elsewhere", {}).items()}
            if part in why:
                raise UserError(f"unknown key {key!r}; {why[part]}")
            if part.isdigit() and i:
                whole = ".".join(parts[:i])
                raise UserError(f"unknown key {key!r}; items of a list are not set one by one: {whole}=[…]")
            near = difflib.get_close_matches(part, fields, n=1, cutoff=0.5)
            hint = (
                f"did you mean {'.'.join([*parts[:i], near[0], *parts[i + 1 :]])!r}?"
                if near
                else (f"known here: {', '.join(sorted(fields))}" if fields else "nothing lies below it")
            )
            raise UserError(f"unknown key {key!r}; {hint}")
        if any(_is_free_form(cls.model_fields[part].annotation) for cls in classes if part in cls.model_fields):
            return
