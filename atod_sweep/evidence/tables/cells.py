"""What tables are made of: one record that Markdown and HTML both print, and cells that several tables share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atod_sweep.evidence.analysis.comparisons import ArmSummary
from atod_sweep.evidence.analysis.text import NOTHING, estimate, number
from atod_sweep.evidence.stats.intervals import Interval


@dataclass(frozen=True)
class Cell:
    """What is printed, and the number to sort by (NaN: sort by the text)."""

    text: str
    value: float = math.nan


@dataclass(frozen=True)
class Table:
    """A table with its caption; the first column holds names, the others are set right."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]
    words: bool = False  # of words: set left throughout


def number_cell(value: float) -> Cell:
    """Three decimals."""
    return Cell(number(value, 3), value)


def interval_cell(interval: Interval, signed: bool = False) -> Cell:
    """Three decimals, with the interval's limits; sorted by the estimate."""
    return Cell(estimate(interval, 3, signed=signed), interval.estimate)


def percent_cell(value: float) -> Cell:
    """A share of 0 to 1 in per cent."""
    return Cell(NOTHING if math.isnan(value) else f"{number(100 * value, 0)} %", value)


def arm_cells(s: ArmSummary) -> list[Cell]:
    """The arm, and its level of every factor."""
    name = f"{s.arm} (control)" if s.role == "control" else s.arm
    return [Cell(name), *(Cell(level) for level in s.levels.values())]


def error_text(error: dict[str, str] | None) -> str:
    return f"{error['type']}: {error['message']}" if error else NOTHING
