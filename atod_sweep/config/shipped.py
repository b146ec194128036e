"""The studies and search spaces that ship with the package, by name.

A wheel holds a copy of the repository's folders inside the package; a clone and an editable install read them there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atod_sweep.config.base import parse_yaml
from atod_sweep.errors import UserError, meant
from atod_sweep.paths import expanded

Kind = Literal["studies", "search_spaces"]
FOLDERS: dict[str, Kind] = {"study": "studies", "search": "search_spaces"}
_VERBS: dict[Kind, str] = {"studies": "run", "search_spaces": "search"}
_PACKAGE = Path(__file__).parents[1]


def folder(kind: Kind) -> Path:
    """Where the shipped files of this kind lie in this installation."""
    inside = _PACKAGE / "shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def files(kind: Kind) -> dict[str, Path]:
    """Name -> file, such as `quickstart` or `baselines/sft`, in the order of names."""
    top = folder(kind)
    found = [*top.glob("*.yaml"), *top.glob("baselines/*.yaml")]
    return {path.relative_to(top).with_suffix("").as_posix(): path for path in sorted(found)}


def find(given: str | Path, kind: Kind) -> Path:
    """The file that is meant: an existing path, else a shipped one (`quickstart`, `studies/quickstart.yaml`).

    Raises UserError that names the nearest shipped file.
    """
    path = expanded(given)
    if path.is_file():
        return path
    name = Path(given).as_posix().removeprefix(f"{kind}/").removesuffix(".yaml")
    known = files(kind)
    if name in known:
        return known[name]
    other: Kind = "search_spaces" if kind == "studies" else "studies"
    if name in files(other):
        raise UserError(f"{given}: is one of the shipped {other}; atod-sweep {_VERBS[other]} {name}")
    hint = meant(name, known, f"shipped: {', '.join(known)}", cutoff=0.5)
    raise UserError(f"{given}: no such file; {hint}")


@dataclass(frozen=True)
class Shipped:
    """A shipped file: its name, what it asks, and how long it took, or may take ("" if nothing says)."""

    name: str
    question: str
    time: str


def listing(kind: Kind) -> list[Shipped]:
    """Every shipped file of this kind that can be run as it is; trainer configs (baselines) are left out."""
    found = []
    for name, path in files(kind).items():
        text = path.read_text(encoding="utf-8")
        data = parse_yaml(text, str(path))
        if "arms" in data or "parameters" in data:
            found.append(Shipped(name, data.get("question", ""), time_of(text)))
    return found


def time_of(text: str) -> str:
    """What the text of a study or a space says that it takes; "" if nothing."""
    said = re.search(r"^# (?:Measured|(Estimated)): (.*)\.$", text, re.MULTILINE)
    return f"{'estimated: ' if said[1] else ''}{said[2]}" if said else ""
