"""What a command line that cannot be parsed is answered: one line, as for every other mistake."""

from __future__ import annotations

import re
import sys
from typing import Any

# What the parser says of a value, and what we say of it.
_VALUES = {
    r"valid integer": "expected a whole number",
    r"valid (?:float|number)": "expected a number",
    r"greater than or equal to (\S+)": r"must be at least \1",
    r"less than or equal to (\S+)": r"must be at most \1",
}


def told(error: Any) -> str:
    """The line for an error of the parser, "" for any other error.

    Typer brings a parser of its own from some version on, so its errors are known by what they have.
    """
    if not hasattr(error, "format_message"):
        return ""
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "atod-sweep"
    option = getattr(error, "option_name", None)
    takes_settings = ctx is not None and any(parameter.name == "overrides" for parameter in ctx.command.params)
    if option and takes_settings and (setting := _setting(option)):
        return f"{option}: no such option of {path}; settings are written KEY=VALUE, for example {setting}=…"
    said = " ".join(error.format_message().split()).rstrip(".")
    message = _value(getattr(error, "param", None), said) or said
    return f"{message}; see: {path} --help".removeprefix("; ")


def _setting(option: str) -> str:
    """The key of a trainer config that was meant by an option; "" if none was."""
    from atod_sweep.config.train import Train

    key = option.lstrip("-").replace("-", "_")
    return key if key.partition(".")[0] in Train.model_fields else ""


def _value(parameter: Any, message: str) -> str:
    """What is wrong with an option's value, which is quoted; "" for other mistakes, and those in words of their own."""
    for said, ours in _VALUES.items():
        if found := re.search(said, message):
            following = zip(sys.argv, [*sys.argv[1:], ""], strict=True)
            given = dict(following) | dict(word.split("=", 1) for word in sys.argv if "=" in word)
            option = next((name for name in parameter.opts if name in given), parameter.opts[0])
            return f"{option} {given.get(option, '')!r}: {found.expand(ours)}"
    return ""
