"""What pydantic finds wrong with a file, in words for whoever wrote it: one line for every mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from atod_sweep.config.schema import check_key, records_at
from atod_sweep.errors import Mistakes, UserError, meant

_QUOTED = 80  # characters of a value that a message shows

# What a value is to be, by the first word of pydantic's name for what is wrong with it.
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "none": "null",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True)
class _Mistake:
    """`key`: the dotted key in the data. `wanted`: what a value of the wrong type should have been, else ""."""

    key: str
    line: str
    wanted: str = ""
    value: Any = None
    meant: str = ""
    """The key that an unknown one may have been meant for."""
    is_missing: bool = False


def told(model: type[BaseModel], data: Any, error: ValidationError) -> list[str]:
    """A line for every mistake, in the order of the fields.

    A value that fits no member of a union is one mistake, told by what the members want; a misspelt key and the
    missing one that it was meant for are one, too.
    """
    found = [mistake for one in error.errors() for mistake in _mistakes(model, data, one)]
    meant = {mistake.meant for mistake in found}
    lines: dict[tuple[str, str], str] = {}
    for mistake in found:
        if mistake.is_missing and mistake.key in meant:
            continue
        if not mistake.wanted:
            lines[mistake.key, mistake.line] = mistake.line
        elif not any(other.key.startswith(f"{mistake.key}.") for other in found):
            wanted = dict.fromkeys(other.wanted for other in found if other.key == mistake.key and other.wanted)
            lines[mistake.key, ""] = f"{mistake.key}: expected {_or(list(wanted))}, got {quoted(mistake.value)}"
    return list(lines.values())


def quoted(value: Any) -> str:
    """A value as a file has it, cut if it is long."""
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= _QUOTED else f"{shown[:_QUOTED]}…"


def _mistakes(model: type[BaseModel], data: Any, one: ErrorDetails) -> list[_Mistake]:
    path = _path(data, one)
    key, kind, value = ".".join(path), one["type"], one["input"]
    context: dict[str, Any] = one.get("ctx", {})
    first = kind.split("_")[0]
    if kind == "extra_forbidden":
        return [_unknown(model, path, one)]
    if kind == "missing":
        return [_Mistake(key, f"{key}: is missing{_meaning(model, path)}", is_missing=True)]
    if kind == "value_error":
        return [_Mistake(key, line) for line in _own_words(key, context["error"])]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return [_Mistake(f"{key}.kind", f"{key}.kind: {_kind(context, value)}")]
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        line = f"must be {words} {context[name]:.15g}, got {quoted(value)}"
    elif kind == "finite_number":
        line = f"must be a finite number, got {value!r}"
    elif kind == "literal_error":
        line = f"unknown value {quoted(value)}; {nearest(value, _quotes(context['expected']))}"
    elif kind == "string_pattern_mismatch":
        line = f"cannot be {quoted(value)}{_meaning(model, path)}"
    elif kind in ("too_short", "too_long"):
        few = kind == "too_short"
        count = context["min_length" if few else "max_length"]
        line = f"{'needs at least' if few else 'takes at most'} {count}, got {quoted(value)}"
    elif first in _WANTED:
        return [_Mistake(key, "", _WANTED[first], value)]
    else:
        line = f"{one['msg'][0].lower()}{one['msg'][1:]}, got {quoted(value)}"
    return [_Mistake(key, f"{key}: {line}")]


def _path(data: Any, one: ErrorDetails) -> list[str]:
    """The keys that lead to the mistake. The tags of unions are in pydantic's path, but not in the data: left out."""
    path: list[str] = []
    node = data
    for i, part in enumerate(one["loc"]):
        is_list = isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)
        if is_list or (isinstance(node, Mapping) and part in node):
            node = node[part]
        elif i < len(one["loc"]) - 1 or one["type"] != "missing":
            continue
        path.append(str(part))
    return path


def _unknown(model: type[BaseModel], path: list[str], one: ErrorDetails) -> _Mistake:
    """A key that is not there; behind an index, it is told as one of the list's items."""
    item = max((i + 1 for i, part in enumerate(path) if part.isdigit()), default=0)
    inside, key = path[:item], ".".join(path[item:])
    try:
        for record in records_at(model, inside) if inside else [model]:
            check_key(record, key)
    except UserError as unknown:
        meant = re.search(r"did you mean '(.*)'\?$", str(unknown))
        line = f"{'.'.join(inside)}: {unknown}" if inside else str(unknown)
        return _Mistake(".".join(path), line, meant=meant[1] if meant and not inside else "")
    tag = one["loc"][-2]
    line = f"{'.'.join(path)}: not a field of kind {tag!r}; choose another {'.'.join([*path[:-1], 'kind'])}"
    return _Mistake(".".join(path), line)


def _own_words(key: str, error: Exception) -> list[str]:
    """What a validator of ours said: it may begin with the field of the record that it is about."""
    found = []
    for line in error.lines if isinstance(error, Mistakes) else [str(error)]:
        joiner = "." if re.match(r"^[a-z_]+(\.[\w-]+)*: ", line) else ": "
        found.append(f"{key}{joiner}{line}" if key else line)
    return found


def _meaning(model: type[BaseModel], path: list[str]) -> str:
    """What the field at a path is, in parentheses; "" where it is none."""
    *above, name = path
    for record in records_at(model, above):
        if name in record.model_fields and (text := record.model_fields[name].description):
            said = text.rstrip(".")
            return f" ({said[0].lower() if said[1:2].islower() or said[1:2] == ' ' else said[0]}{said[1:]})"
    return ""


def _kind(context: Mapping[str, Any], value: Any) -> str:
    if "expected_tags" in context:
        return f"unknown kind {context['tag']!r}; {nearest(context['tag'], _quotes(context['expected_tags']))}"
    return f"is missing, got {quoted(value)}"


def _quotes(text: str) -> list[str]:
    return re.findall(r"'([^']+)'", text)


def nearest(value: Any, known: Sequence[str]) -> str:
    """What may have been meant, and all that is known."""
    return f"{meant(str(value).lower(), known)} known: {', '.join(known)}".lstrip()


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
