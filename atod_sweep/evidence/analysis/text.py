"""Numbers as people read them: the same in the console, in Markdown and in HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.records.redaction import shown

MINUS = "−"
NOTHING = "–"


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """`0.66`, `+0.02`, `−0.04`; large numbers lose decimals; an en dash for NaN."""
    if not math.isfinite(value):
        return NOTHING
    digits = max(0, digits - max(0, int(math.log10(abs(value)))) if abs(value) >= 10 else digits)
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.replace("-", "+" if signed else "")
    return text.replace("-", MINUS)


def limits(interval: Interval, digits: int = 2, signed: bool = False) -> str:
    """`[0.61, 0.70]`; empty where the data give no limits, or none yet."""
    if not math.isfinite(interval.low):
        return ""
    return f"[{number(interval.low, digits, signed)}, {number(interval.high, digits, signed)}]"


def estimate(interval: Interval, digits: int = 2, signed: bool = False) -> str:
    """`0.66 [0.61, 0.70]`."""
    return f"{number(interval.estimate, digits, signed)} {limits(interval, digits, signed)}".strip()


def count(value: float) -> str:
    """`182 k`, `1.3 M`, `640`; an en dash for NaN."""
    if not math.isfinite(value):
        return NOTHING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """`53 s`, `2:41 min`, `1:05 h`; an en dash for NaN."""
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    big, small, unit = (
        (seconds / 60, seconds % 60, "min") if seconds < 3600 else (seconds / 3600, seconds / 60 % 60, "h")
    )
    return f"{int(big)}:{int(small):02d} {unit}"


def p_value(p: float) -> str:
    """`0.063`, `< 0.001`; an en dash for NaN."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def plural(n: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def between(counts: Iterable[int], noun: str) -> str:
    """`10 seeds` where all counts are the same, else `7 to 10 seeds`; counts of 0 are passed over."""
    some = sorted({count for count in counts if count})
    if len(some) > 1:
        return f"{some[0]} to {plural(some[-1], noun)}"
    return plural(some[0] if some else 0, noun)


def listing(names: list[str], most: int = 8) -> str:
    """`a, b and c`; names beyond `most` are counted."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def inert(text: str) -> str:
    """Somebody's text on one line, with no picture, link or tag alive: who renders it would fetch them."""
    return _unlinked(text).replace("<", "&lt;")


def markdown_cell(text: str) -> str:
    """Text that stays inside its table cell and is not read as markup."""
    for sign in "\\|*<`":
        text = text.replace(sign, f"\\{sign}")
    return _unlinked(text)


def _unlinked(text: str) -> str:
    for sign in ("![", "](", "]["):
        text = text.replace(sign, f"{sign[0]}\\{sign[1]}")
    return shown(" ".join(text.split()))


def fence(text: str) -> str:
    """Back ticks around a block of `text` that no line of it can close."""
    return "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
