"""From a name on the command line to a validated record: presets, YAML files, overrides."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from atod_sweep.config.base import load_yaml, parse_yaml, validate, with_overrides
from atod_sweep.config.signals import SHIPPED_OVER_VOCABULARY
from atod_sweep.config.teachers import LIKELIEST_SERVED
from atod_sweep.config.train import Train
from atod_sweep.config.whole import M, Resolve, validate_whole
from atod_sweep.errors import Gathered, UserError
from atod_sweep.paths import expanded

PRESET_PREFIX = "presets/"
TOP_K, LIKELIEST = "objective.distill.top_k", 64


def preset_names() -> list[str]:
    """Names of the trainer configs that ship inside the package."""
    folder = resources.files("atod_sweep.config") / "presets"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def check_sort(data: Mapping[str, Any], path: Path, wanted: str) -> None:
    """UserError that names the right verb, for a file of another sort than the `wanted` one."""
    own = {str(key).partition(".")[0] for key in data} - {"base"}
    if "arms" in data and "parameters" not in data:
        sort, verb = "study", "run"
    elif "parameters" in data and "arms" not in data:
        sort, verb = "search", "search"
    elif own and own <= Train.model_fields.keys():
        sort, verb = "trainer config", "train"
    else:
        return
    if sort != wanted:
        raise UserError(f"{path}: is a {sort}; run it with: atod-sweep {verb} {path}")


def train_data(
    source: str | Mapping[str, Any],
    folder: Path,
    where: str,
    within: tuple[Path, ...] = (),
    mistakes: Gathered | None = None,
) -> dict[str, Any]:
    """The full plain data of a trainer config: defaults, then its `base` if it has one, then its own keys.

    `source` is 'presets/NAME', a YAML file (looked up beside `folder`, then from here), or a mapping. Keys may be
    nested or dotted. `within` holds the files whose `base` led here. UserError; with `mistakes`, unknown keys are left
    out and told there.
    """
    if isinstance(source, str):
        if source.startswith(PRESET_PREFIX):
            name = source.removeprefix(PRESET_PREFIX)
            if name not in preset_names():
                near = difflib.get_close_matches(name, preset_names(), n=1)
                hint = f"did you mean {PRESET_PREFIX + near[0]!r}?" if near else f"known: {', '.join(preset_names())}"
                raise UserError(f"{where}: unknown preset {source!r}; {hint}")
            text = (resources.files("atod_sweep.config") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
            return train_data(parse_yaml(text, source) or {}, folder, source, within, mistakes)
        file = expanded(source)
        path = next((p for p in (folder / file, file) if p.is_file()), None)
        if path is None:
            raise UserError(f"{where}: no such trainer config: {source!r}; give a YAML file or presets/NAME")
        if path.resolve() in within:
            raise UserError(f"{where}: base {source!r} leads back to itself; name another file, or drop it")
        found = load_yaml(path)
        check_sort(found, path, "trainer config")
        return train_data(found, path.parent, str(path), (*within, path.resolve()), mistakes)
    if not isinstance(source, Mapping):
        raise UserError(f"{where}: base: expected a preset, a YAML file or a mapping, got {source!r}")
    data = dict(source)
    base = data.pop("base", None)
    start = Train().model_dump(mode="json") if base is None else train_data(base, folder, where, within, mistakes)
    own = Gathered(where)
    resolved = _with(start, flatten(data), own)
    with mistakes.noted() if mistakes else contextlib.nullcontext():
        own.check()
    return resolved


def _with(data: dict[str, Any], overrides: Mapping[str, Any], mistakes: Gathered) -> dict[str, Any]:
    """Overrides laid over a trainer config, and the default that depends on its models.

    Vocabularies of pretrained models are too wide for whole distributions of every token to be kept, and servers give
    the likeliest ids alone: unless the overrides say otherwise, signals compare those once such a model comes in.
    """
    result = with_overrides(Train, data, overrides, mistakes)
    distill = result["objective"].get("distill") if isinstance(result["objective"], dict) else None
    if not isinstance(distill, dict) or distill.get("kind") not in SHIPPED_OVER_VOCABULARY or TOP_K in overrides:
        return result
    before, now = _likeliest(data), _likeliest(result)
    if now is not None and ("top_k" not in distill or distill["top_k"] == before != now):
        distill["top_k"] = now
    return result


def _likeliest(data: Mapping[str, Any]) -> int | None:
    """How many ids signals compare with these models, if nothing else is said; None: all of them."""
    models = [data[role] for role in ("teacher", "student") if isinstance(data[role], Mapping)]
    for model in models:
        if model.get("kind") == "server":
            return model.get("top_k", LIKELIEST_SERVED)
    return LIKELIEST if any(model.get("kind") == "pretrained" for model in models) else None


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists and scalars are leaves. Free-form mappings stay addressable key by key.

    UserError for a key that is there both nested and dotted.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"expected a mapping of keys and values, got {data!r}")
    result: dict[str, Any] = {}
    for key, value in data.items():
        own = flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
        if twice := sorted(own.keys() & result.keys()):
            raise UserError(f"key {twice[0]!r} appears twice, nested and dotted; keep one")
        result |= own
    return result


def load_train(
    source: str | Mapping[str, Any], overrides: Mapping[str, Any] | None = None, folder: Path = Path()
) -> Train:
    """One validated trainer config from a preset, file or mapping, with dotted overrides applied last."""
    where = source if isinstance(source, str) else "config"
    mistakes = Gathered(where)
    data = train_data(source, folder, where, mistakes=mistakes)
    with mistakes.noted():
        train = validate(Train, _with(data, flatten(overrides or {}), mistakes), where)
    mistakes.check()
    return train


def load_file(model: type[M], path: Path, resolve: Resolve[M] | None = None) -> M:
    """One validated file of a study or a search. UserError that tells all its mistakes.

    `resolve` is asked about what can be read of a broken one.
    """
    data = load_yaml(path)
    check_sort(data, path, model.sort)
    return validate_whole(model, {"name": path.stem, **data}, path.parent, str(path), resolve)
