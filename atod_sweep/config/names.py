"""Names that become names of folders: of runs, arms, factors and their levels."""

from __future__ import annotations

import re
from collections.abc import Iterable

# File systems allow 255 characters; some are left for what is put before and after a name.
LONGEST = 200  # of one name
LONGEST_TRIAL = 240  # of the folder of a trial

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_plain(name: str, what: str) -> str:
    """The name. ValueError if it cannot be one; `what` says of what ("cannot name a folder")."""
    if len(name) > LONGEST:
        raise ValueError(f"'{name[:20]}…' {what}: it has {len(name)} characters; use at most {LONGEST}")
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"{name!r} {what}; use letters, digits, '_', '-' and '.'")
    return name


def check_trials(arms: Iterable[str], factors: Iterable[Iterable[str]], seeds: Iterable[int]) -> None:
    """ValueError if a trial, named by its arm, its level of every factor and its seed, would have too long a name."""
    parts = [max(arms, key=len), *(max(levels, key=len) for levels in factors), f"s{max(seeds)}"]
    length = len("~".join(parts))
    if length > LONGEST_TRIAL:
        shown = ", ".join(f"'{part[:20]}…'" if len(part) > 20 else repr(part) for part in parts[:4])
        raise ValueError(
            f"a trial of {shown} has a name of {length} characters; shorten the names of arms and levels to "
            f"{LONGEST_TRIAL} together"
        )
