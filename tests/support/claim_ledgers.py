"""Ledgers by hand: what every seed of every arm ended at, and the claims about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ledger_files import failed_row, study_row, trial_row, write_ledger

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
    base: Mapping[str, Any] | None = None,
    numerics: int = 5,
    **study: Any,
) -> Path:
    """Write the run and return its folder. `metric`: whose values `ends` are; each trial also reports its success.

    `base`: of the base config, what the definition shall hold of it.
    """
    arms, seeds = list(ends), range(max(len(side) for side in ends.values()))
    row = study_row(
        folder.name,
        arms,
        reference=arms[-1],
        numerics=numerics,
        hypotheses=[{"relation": ">", **claim} for claim in claims],
        controls=[] if teacher is None else ["teacher"],
        seeds=list(seeds),
        definition={"base": {**(base or {}), "evaluation": {"tasks": tasks} if tasks else {}}},
        **study,
    )
    rows = [row]
    if teacher is not None:
        rows.append(trial_row("teacher", 0, "COMPLETE", role="teacher", metrics={metric: teacher}))
    for arm, side in ends.items():
        for seed, end in enumerate(side):
            if end is None:
                continue
            begun = {"start_metrics": {"eval/success": start}}
            if end == "FAILED":
                rows.append(failed_row(arm, seed, **begun))
            elif isinstance(end, str):
                rows.append(trial_row(arm, seed, end, **begun))
            else:
                rows.append(trial_row(arm, seed, "COMPLETE", metrics=_metrics(metric, end), **begun))
    folder.mkdir(parents=True)
    write_ledger(folder, rows)
    return folder


def _metrics(metric: str, end: float) -> dict[str, float]:
    if math.isnan(end):
        return {}
    return {metric: end} if metric == "eval/success" else {"eval/success": 0.6, metric: end}
