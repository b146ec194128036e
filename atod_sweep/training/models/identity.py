"""What tells a model's files from others under the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash
from atod_sweep.config.models import Pretrained
from atod_sweep.paths import local_model

OF_A_MODEL = {".safetensors", ".bin", ".gguf", ".json", ".model", ".txt", ".jinja", ".py"}
BLOCK, BLOCKS = 1 << 16, 32  # bytes, and how many at most are read of a file


def stamp(source: Pretrained, model: Any) -> str:
    """A hash that changes with the files of `source` (names, sizes, times), or with the commit that a hub gave out.

    `model` is what was loaded from there. Cheap: nothing is read.
    """
    files = [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in _files(source, model)]
    folder = local_model(source.path) or Path(source.path)
    return content_hash([str(folder.resolve()) if files else source.path, source.gguf_file, files, _commit(model)])


def fingerprint(source: Pretrained, model: Any = None) -> str:
    """A hash of what the files hold, wherever they lie: of small ones all, of large ones blocks spread over them."""
    files = [[f.name, f.stat().st_size, _sampled(f)] for f in _files(source, model) if f.suffix in OF_A_MODEL]
    return content_hash([source.gguf_file, files, _commit(model)])


def _files(source: Pretrained, model: Any) -> Iterator[Path]:
    """Those of the model's folder, and of the base's of adapters."""
    bases = [adapter.base_model_name_or_path for adapter in getattr(model, "peft_config", {}).values()]
    folders = (local_model(path) or Path(path) for path in (source.path, *bases) if path)
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        yield from sorted(f for f in folder.glob("*") if f.is_file())


def _commit(model: Any) -> str | None:
    return getattr(getattr(model, "config", None), "_commit_hash", None)


def _sampled(file: Path) -> str:
    size, digest = file.stat().st_size, hashlib.sha256()
    whole = size <= BLOCK * BLOCKS
    with file.open("rb") as opened:
        for i in range(BLOCKS):
            if not whole:
                opened.seek(i * (size - BLOCK) // (BLOCKS - 1))
            digest.update(opened.read(BLOCK))
    return digest.hexdigest()
