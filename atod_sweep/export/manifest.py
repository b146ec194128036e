"""manifest.sha256: every other file of an export with its SHA-256, in the form that `sha256sum -c` reads.

A change of any one file shows, the manifest's own included, for it is a function of the other files. Who changes a file
and the manifest along with it can be told only from outside: by the export's digest, the SHA-256 of the manifest. It is
printed when an export is written, recorded beside the run and in MLflow's registry, and `verify --digest` compares it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from atod_sweep.errors import UserError

FILE_NAME = "manifest.sha256"
SIGNATURE = "signature.sig"  # of all files, this one alone not among them; see `signing`
EXPORTS = "exports.jsonl"  # in a run's folder: what was exported from it, and under which digest


def write(folder: Path, names: Iterable[str]) -> str:
    """Vouch for these files of `folder`; the export's digest."""
    text = _text({name: sha256(folder / name) for name in names})
    (folder / FILE_NAME).write_bytes(text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


def record(run_dir: Path, folder: Path, digest: str) -> None:
    """Note in a run's folder what was exported from it."""
    row = {"time": time.time(), "folder": str(folder), "digest": digest}
    with (run_dir / EXPORTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def digest_of(folder: Path) -> str | None:
    """The digest of an export; None for one that was made before exports had a manifest."""
    path = folder / FILE_NAME
    return sha256(path) if path.is_file() else None


def check(folder: Path) -> None:
    """UserError if a file of an export is missing, changed, or was never part of it."""
    vouched = _read(folder / FILE_NAME)
    refuse_strangers(folder, [*vouched, FILE_NAME])
    for name, wanted in vouched.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: is missing; export again")
        if sha256(path) != wanted:
            raise UserError(f"{path}: is not the file that was exported{line_ends(path, wanted)}; export again")


def refuse_strangers(folder: Path, names: Iterable[str]) -> None:
    """UserError if `folder` holds anything but the files of these names."""
    known = {*names, SIGNATURE}
    found = sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    strangers = [
        str(p.relative_to(folder)) for p in found if p.is_symlink() or p.relative_to(folder).as_posix() not in known
    ]
    if strangers:
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise UserError(
            f"{folder}: holds what the export did not write: {', '.join(map(repr, strangers[:3]))}{more}; "
            "look where it comes from, and remove it"
        )


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def line_ends(path: Path, wanted: str) -> str:
    """Words for a file whose line ends alone were converted; none for other files."""
    same = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest() == wanted
    return " (its line ends were converted, as git's autocrlf does)" if same else ""


def _text(digests: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def _read(path: Path) -> dict[str, str]:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        text = ""
    rows = [line.split("  ", 1) for line in text.split("\n")[:-1]]
    found = {row[1]: row[0] for row in rows if len(row) == 2}
    if not found or text != _text(found):
        raise UserError(f"{path}: is not as the export wrote it; export again")
    return found
