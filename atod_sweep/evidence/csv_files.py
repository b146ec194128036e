"""The report's numbers as CSV files, unrounded: one row per trial, arm, comparison, verdict."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from atod_sweep.evidence.comparisons import Comparison, against_reference, applied_teacher, summaries
from atod_sweep.evidence.results import Results
from atod_sweep.evidence.verdicts import judge

Record = dict[str, Any]


def write(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write every table that has rows and return the paths."""
    content = {
        "trials": _trials(results),
        "arms": _arms(results),
        "comparisons": [_comparison(c) for c in against_reference(results)],
        "verdicts": _verdicts(results),
    }
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(write_rows(folder / f"{name}.csv", rows) for name, rows in content.items() if rows)


def write_rows(path: Path, rows: list[Record]) -> Path:
    """One CSV file; its columns are the keys of all rows, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _trials(results: Results) -> list[Record]:
    return [
        {
            "trial": t.id,
            "arm": t.arm,
            "role": t.role,
            **t.levels,
            "seed": t.seed,
            "state": t.state,
            "attempt": t.attempt,
        }
        | {"config_hash": t.config_hash, "seconds": t.seconds, "applied_teacher": applied_teacher(t)}
        | {f"start/{k}": v for k, v in t.start_metrics.items()}
        | t.metrics
        | {f"cost/{k}": v for k, v in t.cost.items()}
        | {"error": (t.error or {}).get("message", "")}
        for t in results.trials
    ]


def _arms(results: Results) -> list[Record]:
    return [
        {"arm": s.arm, "role": s.role, **s.levels, "n": len(s.scores), "expected": s.expected, "start": s.start}
        | {"mean": s.interval.estimate, "low": s.interval.low, "high": s.interval.high}
        | {"applied_teacher": s.applied_teacher, "seconds": s.seconds}
        | {f"cost/{k}": v for k, v in s.cost.items()}
        for s in summaries(results)
    ]


def _comparison(c: Comparison) -> Record:
    return (
        {
            "arm": c.arm,
            "other": c.other,
            **c.levels,
            "metric": c.metric,
            "n": len(c.values),
            "difference": c.interval.estimate,
        }
        | {"low": c.interval.low, "high": c.interval.high, "sd": c.spread, "wins": c.wins, "losses": c.losses}
        | {"p": c.p, "p_holm": c.p_holm, "missing": len(c.missing)}
    )


def _verdicts(results: Results) -> list[Record]:
    return [
        {"claim": v.claim, "registered": v.registered, "outcome": v.outcome, "holds": v.holds, "n": v.n}
        | {"difference": v.interval.estimate, "low": v.interval.low, "high": v.interval.high, "level": v.interval.level}
        | {"margin": v.hypothesis.margin, "p": v.comparison.p, "missing": len(v.comparison.missing)}
        | {"seeds_needed": v.seeds_needed if v.outcome == "undecided" else ""}
        for v in judge(results)
    ]
