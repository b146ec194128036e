"""Paths as people write them: with `~` and `$VARIABLES`, in files and on command lines alike."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from atod_sweep.errors import UserError

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def expanded(path: str | Path) -> Path:
    """The path with `~`, `$NAME` and `${NAME}` filled in; what exists under a name with such signs in it stays.

    UserError for a variable that is not set, and for a user who is not known.
    """
    text = str(path)
    if "$" in text and os.path.lexists(text):
        return Path(text)
    for names in _VARIABLE.findall(text):
        if (name := names[0] or names[1]) not in os.environ:
            raise UserError(f"{text!r}: the environment variable {name} is not set; set it, or write the path out")
    try:
        return Path(_VARIABLE.sub(lambda found: os.environ[found[1] or found[2]], text)).expanduser()
    except RuntimeError:
        raise UserError(f"{text!r}: no such user; write the path out") from None


@contextlib.contextmanager
def written(folder: Path) -> Iterator[None]:
    """What the system refuses to write inside, as a UserError about the folder that was asked for."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename not in (None, str(folder)) else ""
        raise UserError(
            f"{folder}: cannot be written: {error.strerror or error}{where}; choose another folder"
        ) from error


def cache_dir() -> Path:
    """`$ATOD_SWEEP_CACHE`, else `~/.cache/atod-sweep`."""
    return Path(os.environ.get("ATOD_SWEEP_CACHE") or Path.home() / ".cache" / "atod-sweep").expanduser()


def located(place: str) -> str:
    """A URI as it is, a path as `expanded` has it."""
    return place if "://" in place else str(expanded(place))


def is_web_address(text: str) -> bool:
    """Whether this is `http://` or `https://` with a host, and with a port that there can be, if with any."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def local_model(path: str | Path) -> Path | None:
    """The directory that a model's path means; None where it reads as a hub id, `name` or `owner/name`. UserError."""
    text = str(path)
    is_local = text.startswith((".", "/", "~", "$")) or text.count("/") > 1
    return expanded(text) if is_local else None


def existing_model(path: str, where: str = "") -> Path | None:
    """`local_model`; UserError for a directory that is not there. `where`: the config's name for it."""
    folder = local_model(path)
    if folder is not None and not folder.is_dir():
        raise UserError(f"{where}model directory {path!r} does not exist; give a directory or a hub id")
    return folder
