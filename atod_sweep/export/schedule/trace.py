"""What a run really applied, step by step: the open-loop stand-in for weights that follow measurements."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.results import Results, Trial
from atod_sweep.export.schedule.best import choose

FILE_NAME = "trace_open_loop.csv"
_ROW_KEYS = {"distill": "weight/distill", "beta_kl": "weight/kl", "turns": "turn_weight"}


@dataclass(frozen=True)
class Trace:
    """Means over the seeds of what was applied at every step; None for parts that have a closed form.

    `distill` and `beta_kl`: one value per step; `turns`: per step the whole turn factor (g(k) times the weight from
    log-probs), averaged over the generated tokens of each turn.
    """

    distill: tuple[float, ...] | None = None
    beta_kl: tuple[float, ...] | None = None
    turns: tuple[tuple[float, ...], ...] | None = None


def record(trials: Sequence[Trial], parts: Sequence[str], steps: int, horizon: int) -> Trace:
    """The trace of the given parts ("distill", "beta_kl", "turns") over trials of one config.

    A turn on which no trial generated a token has weight 0. UserError where a part was not recorded at every step.
    """
    scalars: dict[str, Any] = {
        part: tuple(_mean(values) for values in zip(*(_column(t, _ROW_KEYS[part], steps) for t in trials), strict=True))
        for part in parts
        if part != "turns"
    }
    if "turns" not in parts:
        return Trace(**scalars)
    recorded = [_column(trial, _ROW_KEYS["turns"], steps) for trial in trials]
    turns = tuple(
        tuple(_mean([row[k] for row in rows if k < len(row)]) for k in range(horizon))
        for rows in zip(*recorded, strict=True)
    )
    return Trace(**scalars, turns=turns)


def needed(results: Results) -> dict[str, list[str]]:
    """Trial -> names of the numbers of every step that exports of the best arm, at any levels, are made from."""
    factors = results.study.factors
    found: dict[str, list[str]] = {}
    for levels in itertools.product(*([None, *levels] for levels in factors.values())):
        at = {factor: level for factor, level in zip(factors, levels, strict=True) if level is not None}
        try:
            best = choose(results, at)
            names = [_ROW_KEYS[part] for part in best.schedule.measured]
        except UserError:  # nothing can be exported there
            continue
        found |= {trial.id: names for trial in best.trials}
    return found


def _column(trial: Trial, key: str, steps: int) -> list[Any]:
    values = [row[key] for row in trial.rows if row["phase"] == "train" and key in row]
    if len(values) != steps:
        raise UserError(
            f"{trial.id}: its record holds {key!r} for {len(values)} of {steps} steps, and an open-loop trace needs all"
        )
    return values


def _mean(values: Sequence[float | None]) -> float:
    present = [value for value in values if value is not None]
    return round(math.fsum(present) / len(present), 12) if present else 0.0


def to_csv(trace: Trace) -> str:
    """One line per step; columns only for the parts that were recorded."""
    length = len(trace.distill or trace.beta_kl or trace.turns or ())
    columns: dict[str, Sequence[float]] = {"step": range(length)}
    if trace.distill is not None:
        columns["distill"] = trace.distill
    if trace.beta_kl is not None:
        columns["beta_kl"] = trace.beta_kl
    if trace.turns is not None:
        columns.update({f"turn_{k}": column for k, column in enumerate(zip(*trace.turns, strict=True))})
    return csv_text(columns, zip(*columns.values(), strict=True))


def csv_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def read_csv(path: Path) -> Trace:
    """The trace of a bundle; an empty one if the bundle needs none."""
    if not path.is_file():
        return Trace()
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    turns = [key for key in rows[0] if key.startswith("turn_")]
    return Trace(
        distill=tuple(row["distill"] for row in rows) if "distill" in rows[0] else None,
        beta_kl=tuple(row["beta_kl"] for row in rows) if "beta_kl" in rows[0] else None,
        turns=tuple(tuple(row[key] for key in turns) for row in rows) if turns else None,
    )
