"""`python -m benchmarks.faults` causes every fault and writes benchmarks/faults.md.

`--only WORD` causes those whose kind or name holds the word, and writes nothing. `--kills N M`: so many on the local
backend and on Ray.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults import inputs, kills, runs
from benchmarks.faults.tools import ROOT, SUPPORT, Fault

OUT = Path(__file__).parents[1] / "faults.md"


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


def table(outcomes: list[Outcome]) -> str:
    """The page."""
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
        f"{len(outcomes)} faults tried, {kills} kills among them; {survived} survived; {nothing}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Cause them, print each as it comes, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--kills", type=int, nargs=2, default=(40, 20), metavar=("LOCAL", "RAY"))
    given = parser.parse_args()
    wanted = [one for one in every(*given.kills) if given.only in f"{one.kind} {one.name}"]
    outcomes = []
    for fault in wanted:
        outcomes.append(cause(fault))
        last = outcomes[-1]
        mark = "ok " if last.survived else "NOT"
        print(f"{mark} {last.seconds:5.0f} s  {fault.kind}: {fault.name}: {last.observed}", flush=True)
    if not given.only:
        OUT.write_text(table(outcomes), encoding="utf-8")
    sys.exit(0 if all(one.survived for one in outcomes) else 1)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(SUPPORT)]
    main()
