"""A report never takes the place of a richer one: of one that was made while more of the trials' records were here."""

from __future__ import annotations

import csv
from pathlib import Path

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.results import Results, unrecorded
from atod_sweep.evidence.report import csv_files
from atod_sweep.records import layout


def refuse_poorer(results: Results, folder: Path) -> None:
    """UserError if `folder` holds a report whose learning curves rest on records that are no longer with the run.

    What an earlier report knew is read from its table of curves, which goes with every format.
    """
    done, lost = unrecorded(results)
    table = folder / layout.TABLES / "curves.csv"
    if not lost or not table.is_file():
        return
    with table.open(encoding="utf-8", newline="") as file:
        before = sum(int(row["n"]) for row in csv.DictReader(file))
    if before > sum(row["n"] for row in csv_files.curves(results)):
        raise UserError(
            f"{folder}: holds a report made with trials' records that are not here now ({len(lost)} of {len(done)} are "
            f"missing or cut short), so a rebuilt one would lose its curves; bring back "
            f"{results.folder / layout.TRIALS}, or write the poorer report elsewhere with --out"
        )
