"""What a published record does not tell: where things lie on the machine that it was made on, whose that is, secrets.

Paths are cut down to their last name, which says what was used; credentials become `***` (see `redaction`).
"""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from atod_sweep.records.ledger_rows import Row
from atod_sweep.records.redaction import HIDDEN, is_secret, redacted

# A path from the root, or from somebody's home, of two names or more; behind `file://` and `sqlite:///`, too. Other
# addresses (https://host/page), fractions and relative paths are left alone.
_PATH = re.compile(r"(?:(?<![\w./~…\])}<])~?|(?<=:/)/+)(?:/[^\s/\"'`,;:()<>\[\]{}|=…]+){2,}/?")
_HOME = re.compile(r"(?<![\w./…])~[\w.-]*/(?=[\w.])")
_WHOLE = re.compile(r"(?:~[^/]*|\.{1,2})?/[^:\n]*[^:\n/]/*")  # a value that is a path and nothing else
_SOMEBODY = re.compile(r"(?:/home|/Users)/[^/]+/?")
# `key: text` on a line of YAML, or within braces.
_SETTING = re.compile(
    r"""(?P<key>(?:^[ \t]*(?:-[ ])?|[{,]\s*)["']?(?P<name>[\w.-]+)["']?:[ \t]+)"""
    r"""(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s#{}\[&*|>,"'][^,}\n]*)""",
    re.MULTILINE,
)
_NUMBERS = ("metrics", "start_metrics", "cost")  # and outcomes of tasks, whose text is no path though it holds slashes
# Where a run's files go, and where MLflow and Ray are: of no use to a reader.
_PLACES = ("--out", "-o", "--tracking-uri", "--storage", "--address")


def anonymous(value: Any) -> Any:
    """JSON data without paths and secrets; what has neither comes back as it is."""
    match value:
        case str():
            return name_of(value) if _WHOLE.fullmatch(value) else anonymous_text(value)
        case Mapping():
            hide = {key for key, item in value.items() if is_secret(str(key)) and isinstance(item, str) and item}
            return {key: HIDDEN if key in hide else anonymous(item) for key, item in value.items()}
        case list() | tuple():
            return [anonymous(item) for item in value]
        case _:
            return value


def anonymous_text(text: str) -> str:
    """Text without paths and credentials.

    >>> anonymous_text("FileNotFoundError: '/home/ada/games/a.json', see https://example.org/games/a and and/or")
    "FileNotFoundError: 'a.json', see https://example.org/games/a and and/or"
    """
    text = re.sub(rf"(?<![\w./-]){re.escape(str(Path.home()))}(?![\w.-])", "~", redacted(text))
    text = _HOME.sub("", _PATH.sub(lambda found: name_of(found[0]), text))
    return re.sub(rf"(?<=/){re.escape(user())}(?=[/'\"\s]|$)", "USER", text) if user() else text


def anonymous_yaml(text: str) -> str:
    """A YAML file with its comments and its order, without paths and secrets."""

    def hide(found: re.Match[str]) -> str:
        return f"{found['key']}'{HIDDEN}'" if is_secret(found["name"]) else found[0]

    return anonymous_text(_SETTING.sub(hide, text))


def name_of(path: str) -> str:
    """The last name of a path; that of a user's own folder is `~`."""
    return "~" if _SOMEBODY.fullmatch(path) else PurePath(path).name


def anonymous_row(row: Row) -> dict[str, Any]:
    """A ledger row as it is published: also without the worker, whose name is that of a machine, and the whereabouts of
    Ray, MLflow and storage."""
    kept = {key: value for key, value in row.items() if key not in ("worker", "started_with")}
    found = {key: value if key in _NUMBERS else anonymous(value) for key, value in kept.items()}
    if row["event"] == "study":
        found["argv"] = _command(row["argv"])
    if row["event"] == "trial" and (error := row.get("error")):
        found["error"] = {key: _nobody(anonymous_text(str(text))) for key, text in error.items()}
    return found


def _command(argv: Sequence[str]) -> list[str]:
    """A command line without its output folder and the like."""
    words, coming = [], iter(argv)
    for word in coming:
        if word in _PLACES:
            next(coming, None)
        elif not word.startswith(tuple(f"{option}=" for option in _PLACES)):
            key, equals, value = word.rpartition("=")
            words.append(f"{anonymous_text(key)}{equals}{anonymous(value)}")
    return words


def _nobody(text: str) -> str:
    """What a machine said, without the names of the machine and of its user."""
    for name, instead in ((user(), "USER"), (platform.node(), "HOST")):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", instead, text) if name else text
    return text


@cache
def user() -> str:
    """Who runs this; "" where the system does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may know no name for its user
        return ""
