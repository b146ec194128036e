"""The metrics file of a trial: a row for every optimiser step, and one for every evaluation.

{"phase": "train" | "eval" | "final", "step": 40, "loss": 0.31, "turn_weight": [1.0, 0.5, null], …}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.records.rows import read_lines, seal, write_whole

FORMAT = "atod-sweep/metrics/1"
PHASES = ("train", "eval", "final")

MetricRow = dict[str, Any]


def read_metrics(path: Path) -> list[MetricRow]:
    """All rows in the order of their steps, the last of each phase and step; none if there is no file.

    UserError for a row that is damaged, or none of a trial's metrics.
    """
    remedy = "restore the file from a copy, or remove it: the ledger keeps the trial's result"
    found: dict[tuple[str, int], MetricRow] = {}
    for number, row, _ in read_lines(path, FORMAT, lambda line: remedy):
        phase, step = row.get("phase"), row.get("step")
        if phase not in PHASES or not isinstance(step, int) or step < 0:
            raise UserError(f"{path}:{number}: no row of metrics, its phase is {phase!r} and step {step!r}; {remedy}")
        found[phase, step] = row
    return sorted(found.values(), key=lambda row: int(row["step"]))


def append_metrics(path: Path, rows: Sequence[MetricRow]) -> None:
    with path.open("ab") as file:
        file.write(b"".join(seal(row, FORMAT) for row in rows))


def rewind(path: Path, coming: Sequence[MetricRow]) -> None:
    """Keep only the rows that lie before the first ones of `coming`, which a resumed training is about to append."""
    first = min(row["step"] for row in coming)
    again = {(row["phase"], row["step"]) for row in coming}
    kept = [row for row in read_metrics(path) if row["step"] <= first and (row["phase"], row["step"]) not in again]
    write_whole(path, b"".join(seal(row, FORMAT) for row in kept))
