"""`python -m benchmarks.faults` causes every fault and writes benchmarks/faults.md.

`--only WORD` causes those whose kind or name holds the word, and writes nothing. `--kills N M`: so many on the local
backend and on Ray. `--at-once N`: so many faults at a time, each in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.faults.causing import Outcome, cause_by_number, every, table
from benchmarks.faults.tools import ROOT, SUPPORT

OUT = Path(__file__).parents[1] / "faults.md"


def main() -> None:
    """Cause them, print each as it comes, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--kills", type=int, nargs=2, default=(40, 20), metavar=("LOCAL", "RAY"))
    parser.add_argument("--at-once", type=int, default=1)
    given = parser.parse_args()
    faults = every(*given.kills)
    wanted = [i for i, one in enumerate(faults) if given.only in f"{one.kind} {one.name}"]
    outcomes = {}
    with ProcessPoolExecutor(given.at_once, get_context("spawn")) as pool:
        futures = {pool.submit(cause_by_number, tuple(given.kills), i): i for i in wanted}
        for done in as_completed(futures):
            observed, survived, seconds = done.result()
            last = outcomes[futures[done]] = Outcome(faults[futures[done]], observed, survived, seconds)
            mark = "ok " if last.survived else "NOT"
            print(f"{mark} {seconds:5.0f} s  {last.fault.kind}: {last.fault.name}: {last.observed}", flush=True)
            if not given.only:  # each time, so that one that is interrupted leaves what it found
                rest = [faults[i] for i in wanted if i not in outcomes]
                OUT.write_text(table([outcomes[i] for i in sorted(outcomes)], rest), encoding="utf-8")
    sys.exit(0 if all(one.survived for one in outcomes.values()) else 1)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(SUPPORT)]
    main()
