"""What a run found, in the form in which loggers show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """`note`: a page of Markdown; `numbers`, such as `best/mean`, and `words`, such as `verdicts`, to sort and filter
    runs by."""

    note: str
    numbers: Mapping[str, float]
    words: Mapping[str, str]
