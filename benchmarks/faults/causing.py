"""All faults, what came of each, and the page that says so."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults import inputs, kills, runs
from benchmarks.faults.tools import Fault


@dataclass(frozen=True)
class Outcome:
    """A fault, what was observed, and whether that is what was expected."""

    fault: Fault
    observed: str
    survived: bool
    seconds: float


def every(local: int = 40, on_ray: int = 20) -> list[Fault]:
    """All faults."""
    return [*inputs.faults(), *runs.faults(), *kills.faults(local, on_ray)]


def cause(fault: Fault) -> Outcome:
    """Cause one fault in a folder of its own."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fault-", ignore_cleanup_errors=True) as folder:
        try:
            observed, survived = fault.cause(Path(folder)), True
        except Exception as error:  # whatever a fault brings to light is a result
            observed, survived = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", False
        observed = observed.replace(folder, "…")
    return Outcome(fault, observed, survived, time.monotonic() - begun)


def cause_by_number(kills: tuple[int, int], number: int) -> tuple[str, bool, float]:
    """The same of a fault by its number, in another process: its functions cannot be sent."""
    outcome = cause(every(*kills)[number])
    return outcome.observed, outcome.survived, outcome.seconds


def table(outcomes: list[Outcome], rest: Sequence[Fault] = ()) -> str:
    """The page; `rest` are the faults that were not tried yet."""
    survived = sum(one.survived for one in outcomes)
    lines = [
        "# Faults",
        "",
        f"`python -m benchmarks.faults` on {platform.machine()}, Python {platform.python_version()}. "
        "Every fault is really caused, in a process and a folder of its own.",
        "",
        "| kind | fault | expected | observed | |",
        "|---|---|---|---|---|",
    ]
    for one in outcomes:
        end = "survived" if one.survived else "**not**"
        cells = (one.fault.kind, one.fault.name, one.fault.expected, one.observed, end)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    lost = [one for one in outcomes if not one.survived]
    nothing = "nothing was lost" if not lost else f"not survived: {', '.join(one.fault.name for one in lost)}"
    kills = sum(one.fault.kills for one in outcomes)
    lines += [
        "",
        f"{len(outcomes)} faults tried, {kills} kills among them; {survived} survived; {nothing}."
        + (f" Not tried yet: {', '.join(f'{one.kind}: {one.name}' for one in rest)}." if rest else ""),
        "",
    ]
    return "\n".join(lines)
