"""A study or a search as someone gives it: a file, a shipped name, a mapping, or the record itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from atod_sweep.config import shipped
from atod_sweep.config.base import dump_yaml
from atod_sweep.config.files import flatten, load_file
from atod_sweep.config.train import Train
from atod_sweep.config.whole import M, Resolve, validate_whole
from atod_sweep.errors import UserError


@dataclass(frozen=True)
class Given(Generic[M]):
    """`record`, the YAML `text` that is kept in the run's folder, the `folder` in which relative names are looked up
    (also for environments and custom functions), and `where` errors say that it came from."""

    record: M
    text: str
    folder: Path
    where: str


def given(model: type[M], source: str | Path | Mapping[str, Any] | M, resolve: Resolve[M] | None = None) -> Given[M]:
    """UserError that tells all that is wrong with it; `resolve` is asked about parts of a broken one."""
    if isinstance(source, str | Path):
        path = shipped.find(source, shipped.FOLDERS[model.sort])
        return Given(load_file(model, path, resolve), path.read_text(encoding="utf-8"), path.parent, str(path))
    if not isinstance(source, Mapping | model):
        raise UserError(f"{model.sort}: expected a file, the name of a shipped one or a mapping, got {source!r}")
    if isinstance(source, Mapping):
        source = validate_whole(model, {"name": model.sort, **source}, Path(), model.sort, resolve)
    return Given(source, dump_yaml(source.model_dump(mode="json", exclude_unset=True)), Path(), model.sort)


def for_trials(model: type[M], overrides: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Overrides of every trial's config, flat. UserError for keys that are the file's own, or a trial's: its seed."""
    changes = flatten(overrides)
    for key in changes:
        first = key.partition(".")[0]
        if first in model.model_fields.keys() - Train.model_fields.keys() or key == "seed":
            is_seeds = first in ("seed", "seeds") and model.sort == "study"
            instead = "use --seeds N, or seeds: in the file" if is_seeds else "set it in the file"
            raise UserError(f"{where}: {key!r} is nothing that all trials can be given; {instead}")
    return changes
