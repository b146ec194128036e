"""Ledgers by hand: what every seed of every arm ended at, and the claims about it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# How a seed ended: its value; NaN: it completed without one; a state; None: never begun.
End = float | str | None


def write_claims(
    folder: Path,
    ends: Mapping[str, Sequence[End]],
    claims: Sequence[Mapping[str, Any]] = ({"arm": "a", "other": "b"},),
    *,
    metric: str = "eval/success",
    start: float = 0.2,
    tasks: int | None = 512,
    teacher: float | None = None,
    **study: Any,
) -> Path:
    """Write the run and return its folder. `metric`: whose values `ends` are; each trial also reports its success."""
    arms, seeds = list(ends), range(max(len(side) for side in ends.values()))
    rows: list[dict[str, Any]] = [
        {
            "event": "study", "time": 0.0, "name": folder.name, "question": "q", "reference": arms[-1], "numerics": 5,
            "metric": {"name": "eval/success", "last": 1},
            "hypotheses": [{"relation": ">", **claim} for claim in claims],
            "arms": arms, "controls": [] if teacher is None else ["teacher"], "factors": {}, "seeds": list(seeds),
            "definition": {"base": {"evaluation": {"tasks": tasks} if tasks else {}}}, **study,
        }
    ]  # fmt: skip
    if teacher is not None:
        rows.append(_row("teacher", 0) | {"role": "teacher", "state": "COMPLETE", "metrics": {metric: teacher}})
    for arm, side in ends.items():
        for seed, end in enumerate(side):
            if end is None:
                continue
            row = _row(arm, seed) | {"start_metrics": {"eval/success": start}}
            if isinstance(end, str):
                error = {
                    "error": {"status": "diverged", "type": "DivergedError", "message": "the loss is not a number"}
                }
                rows.append(row | {"state": end} | (error if end == "FAILED" else {}))
            else:
                rows.append(row | {"state": "COMPLETE", "metrics": _metrics(metric, end)})
    folder.mkdir(parents=True)
    (folder / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def _metrics(metric: str, end: float) -> dict[str, float]:
    if math.isnan(end):
        return {}
    return {metric: end} if metric == "eval/success" else {"eval/success": 0.6, metric: end}


def _row(arm: str, seed: int) -> dict[str, Any]:
    return {
        "event": "trial", "trial": f"{arm}-s{seed}", "arm": arm, "role": "arm", "levels": {}, "seed": seed,
        "attempt": 1, "config_hash": "0", "seconds": 1.0,
    }  # fmt: skip
