"""What tells a model's files from others under the same name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash
from atod_sweep.config.train import Pretrained
from atod_sweep.paths import local_model


def stamp(source: Pretrained, model: Any) -> str:
    """A hash that changes with the files of `source` (names, sizes, times), or with the commit that a hub gave out.

    `model` is what was loaded from there. Cheap: nothing is read.
    """
    folder = local_model(source.path) or Path(source.path)
    files = [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in sorted(folder.glob("*")) if f.is_file()]
    commit = getattr(model.config, "_commit_hash", None)
    return content_hash([str(folder.resolve()) if files else source.path, source.gguf_file, files, commit])


def fingerprint(source: Pretrained) -> str:
    """A hash of what the files hold, wherever they lie."""
    folder = local_model(source.path) or Path(source.path)
    files = [
        [f.name, f.stat().st_size, hashlib.sha256(f.read_bytes()).hexdigest()]
        for f in sorted(folder.glob("*"))
        if f.is_file()
    ]
    return content_hash([source.gguf_file, files])
