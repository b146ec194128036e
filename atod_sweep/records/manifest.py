"""manifest.json: every other file of a folder with its size and SHA-256, and whatever else vouches for the folder.

For checkpoints, cached models and trained students, which are written once, whole, and read much later. Exports have a
manifest of another kind (`export.manifest`), which anybody can check with `sha256sum`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from atod_sweep.records.rows import seal, unseal

NAME = "manifest.json"
FORMAT = "atod-sweep/manifest/1"


def write(folder: Path, **facts: Any) -> None:
    """Vouch for all files that are in the folder now; `facts` are what else there is to say, as JSON."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): _fingerprint(path) for path in found}
    (folder / NAME).write_bytes(seal({**facts, "files": files}, FORMAT))


def check(folder: Path) -> dict[str, Any]:
    """The facts, once every file is found to be as it was written. ValueError that says what is not.

    Those of the first versions have no checksum of their own.
    """
    try:
        facts, _ = unseal((folder / NAME).read_bytes().removesuffix(b"\n"), FORMAT)
        files = facts.pop("files")
        wrong = [name for name, mark in files.items() if _fingerprint(folder / name) != mark]
    except FileNotFoundError as error:
        raise ValueError(f"{Path(error.filename).name} is missing") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from None
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{NAME} is not a manifest") from None
    except ValueError as error:
        raise ValueError(f"{NAME}: {error}") from None
    if wrong:
        raise ValueError(f"{', '.join(wrong)} does not match its checksum")
    return facts


def _fingerprint(path: Path) -> list[Any]:
    with path.open("rb") as file:  # block by block: a checkpoint may be as large as what memory is left
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
