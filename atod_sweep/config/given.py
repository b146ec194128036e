"""A study or a search as someone gives it: a file, a shipped name, a mapping, or the record itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from atod_sweep.config import shipped
from atod_sweep.config.base import Record, dump_yaml
from atod_sweep.config.files import load_study
from atod_sweep.config.search import Search, load_search
from atod_sweep.config.study import Study
from atod_sweep.config.whole import Resolve, validate_whole

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Given(Generic[R]):
    """`record`, the YAML `text` that is kept in the run's folder, the `folder` in which relative names are looked up
    (also for environments and custom functions), and `where` errors say that it came from."""

    record: R
    text: str
    folder: Path
    where: str


def study(source: str | Path | Mapping[str, Any] | Study, resolve: Resolve[Study] | None = None) -> Given[Study]:
    """A study. UserError that tells all that is wrong with it; `resolve` is asked about parts of a broken one."""
    if isinstance(source, str | Path):
        path = shipped.find(source, "studies")
        return Given(load_study(path, resolve), path.read_text(encoding="utf-8"), path.parent, str(path))
    if not isinstance(source, Study):
        source = validate_whole(Study, {"name": "study", **source}, Path(), "study", resolve)
    return Given(source, _text(source), Path(), "study")


def search(source: str | Path | Mapping[str, Any] | Search, resolve: Resolve[Search] | None = None) -> Given[Search]:
    """A search. UserError that tells all that is wrong with it; `resolve` is asked about parts of a broken one."""
    if isinstance(source, str | Path):
        path = shipped.find(source, "search_spaces")
        return Given(load_search(path, resolve), path.read_text(encoding="utf-8"), path.parent, str(path))
    if not isinstance(source, Search):
        source = validate_whole(Search, {"name": "search", **source}, Path(), "search", resolve)
    return Given(source, _text(source), Path(), "search")


def _text(record: Record) -> str:
    return dump_yaml(record.model_dump(mode="json", exclude_unset=True))
