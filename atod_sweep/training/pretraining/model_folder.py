"""The folder of a model that was made here: written in one step, vouched for by a manifest, checked before it is used.

Which models there are, and when one is built, is the business of `cache`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open

from atod_sweep.errors import UserError
from atod_sweep.records import layout, manifest
from atod_sweep.training import NUMERICS

_checked: set[Path] = set()  # models that this process has found to be as they were written


def ensure(path: Path, make: Callable[[], tuple[Any, Any, dict[str, Any]]], damaged: Callable[[str], None]) -> bool:
    """Whether a model was not in the cache, or `damaged`, which is told, and has been made.

    `make` gives the model, its tokenizer and how it was made (`about`). UserError if the cache may not be written.
    """
    with _locked(path):
        if path.is_dir() and (wrong := problem(path)):
            damaged(f"{path} is damaged ({wrong}); it is built again")
            _discard(path)
        if path.is_dir():
            return False
        _keep(path, *make())
        return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time looks for the model and builds it. One that is whole is used from a read-only cache too."""
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if not path.is_dir() or problem(path):
            raise _unwritable(path, error) from None
        yield
        return
    try:
        yield
    finally:
        lock.release()


def problem(path: Path) -> str | None:
    """What is wrong with a model in the cache; None if nothing is."""
    if path in _checked:
        return None
    try:
        if (path / manifest.NAME).is_file():
            manifest.check(path)
        else:  # of a first version: what is there must at least be whole
            with safe_open(path / "model.safetensors", "pt") as weights:
                weights.keys()
        recipe(path)
    except (OSError, ValueError, SafetensorError) as error:
        return " ".join(str(error).split())[:200]
    _checked.add(path)
    return None


def recipe(path: Path) -> dict[str, Any]:
    """How a model in the cache was made. ValueError if it does not say."""
    meta = json.loads((path / layout.RECIPE).read_text(encoding="utf-8"))
    if not isinstance(meta, dict) or not {"success", "seconds"} <= meta.keys():
        raise ValueError(f"{layout.RECIPE} is none of a model")
    return meta


def _discard(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _keep(path: Path, model: Any, tokenizer: Any, meta: dict[str, Any]) -> None:
    """Put a model and how it was made (`meta`) into the cache. UserError if that may not be written, or is full."""
    try:
        for old in path.parent.glob(f".{path.name}-*"):  # what a killed process was writing: this one holds the lock
            shutil.rmtree(old)
        save(path, model, tokenizer, {layout.RECIPE: meta})
    except OSError as error:
        raise _unwritable(path, error) from None
    _checked.add(path)


def about(role: str, success: float, started: float, model: BaseModel, env: BaseModel) -> dict[str, Any]:
    """How a model was made, from `time.perf_counter()` = `started` on."""
    import torch

    return {
        "role": role,
        "success": success,
        "seconds": time.perf_counter() - started,
        "model": model.model_dump(mode="json"),
        "env": env.model_dump(mode="json"),
        "numerics": NUMERICS,
        "torch": torch.__version__,
    }


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or error
    return UserError(f"{path}: cannot be written: {reason}; make room or set ATOD_SWEEP_CACHE to another folder")


def save(path: Path, model: Any, tokenizer: Any, extra: dict[str, Any], vouched: bool = True) -> None:
    """Write a Hugging Face directory (and JSON files) in one atomic step; `path` must not exist.

    `vouched`: with a manifest, by which damage is found.
    """
    staging = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    staging.mkdir()  # with everyday permissions, which a temporary directory does not have: caches are shared
    try:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        for name, data in extra.items():
            (staging / name).write_text(json.dumps(data, indent=1))
        if vouched:
            manifest.write(staging)
        for path_of_file in staging.iterdir():  # safetensors writes for its owner alone
            shutil.copymode(staging / "tokenizer_config.json", path_of_file)
        staging.rename(path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
