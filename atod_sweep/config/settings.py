"""Settings that are handed on as they are, such as `env.kwargs`: what files can hold and runs resume from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

LONGEST_NUMBER = 100  # digits, as in files


def plain(value: Any, where: str = "") -> Any:
    """`value` as a file holds it: tuples are lists. ValueError that says where there is what no file can hold."""
    if isinstance(value, Mapping):
        return {_scalar(key, f"{where}a key"): plain(one, f"{where}{key}.") for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, f"{where}{i}.") for i, one in enumerate(value)]
    return _scalar(value, where)


def _scalar(value: Any, where: str) -> Any:
    if problem := _problem(value):
        raise ValueError(f"{where.removesuffix('.')}: {problem}")
    return value


def _problem(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number, got {value!r}"
    if isinstance(value, int) and abs(value) >= 10**LONGEST_NUMBER:
        return f"a number of more than {LONGEST_NUMBER} digits"
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        return f"holds half of a character, got {value!r:.80}"
    if value is None or type(value) in (bool, int, float, str):
        return ""
    return f"must be a number, text, list or mapping, got {value!r:.80} ({type(value).__name__})"


Settings = Annotated[dict[str, Any], AfterValidator(plain)]
