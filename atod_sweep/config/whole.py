"""A file read as a whole: when some of it is broken, the rest is looked at all the same, so that one try tells all."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ValidationError, field_validator

from atod_sweep.config.base import Record, validate
from atod_sweep.config.names import check_plain
from atod_sweep.errors import Gathered


class File(Record):
    """A record that a whole file holds. `sort`: what it is called; `spine`: its fields that others refer to."""

    sort: ClassVar[str]
    spine: ClassVar[tuple[str, ...]]

    @field_validator("name", check_fields=False)
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return check_plain(name, "cannot name a folder")


M = TypeVar("M", bound=File)

# What is done with a record next: with the folder in which its names are looked up, and how errors name its file.
Resolve = Callable[[M, Path, str], object]


def validate_whole(model: type[M], data: Mapping[str, Any], folder: Path, where: str, resolve: Resolve[M] | None) -> M:
    """`validate`; if that fails, tell too what is wrong with the fields that can be read.

    If the spine is broken, nothing more is said. `resolve` is asked for the mistakes that show only there.
    """
    mistakes = Gathered(where)
    with mistakes.noted():
        return validate(model, data, where)
    given = _put_right(model, data)
    broken = _broken(model, given)
    if not broken & set(model.spine):
        texts = {name for name in broken if model.model_fields[name].annotation is str}
        rest = {key: value for key, value in given.items() if key not in broken} | dict.fromkeys(texts, "x")
        with mistakes.noted():
            validate(model, rest, where)
        needed = {*model.spine, *(name for name, field in model.model_fields.items() if field.is_required())}
        backbone = {key: value for key, value in rest.items() if key in needed}
        if resolve is not None:
            with mistakes.noted():
                resolve(validate(model, backbone, where), folder, where)
    mistakes.check()
    raise AssertionError("what was refused was told")


def _put_right(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the record, those with a misspelt name under the nearest one."""
    known = {key: value for key, value in data.items() if key in model.model_fields}
    for key in data.keys() - known.keys():
        near = difflib.get_close_matches(str(key), model.model_fields, n=1, cutoff=0.5)
        if near and near[0] not in known:
            known[near[0]] = data[key]
    return known


def _broken(model: type[BaseModel], data: Mapping[str, Any]) -> set[str]:
    """The fields with a mistake of their own, or missing."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        return {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    return set()
