"""Import the generated modules of an export folder, fresh, under the names that its files use for one another."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def modules_of(folder: Path, *names: str) -> Iterator[tuple[ModuleType, ...]]:
    """The modules `names`; after the block, none of the folder's modules is left behind."""
    own = {path.stem for path in folder.glob("*.py")}
    for name in own:  # of another folder, from whoever imported it for good
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    try:
        yield tuple(importlib.import_module(name) for name in names)
    finally:
        sys.path.remove(str(folder))
        for name in own:
            sys.modules.pop(name, None)
