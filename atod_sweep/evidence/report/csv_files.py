"""The report's numbers as CSV files, unrounded: one row per trial, arm, comparison, verdict, point of a curve."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from atod_sweep.evidence.analysis import lost
from atod_sweep.evidence.analysis.aggregates import aggregate, interactions, main_effects
from atod_sweep.evidence.analysis.breadth import methods
from atod_sweep.evidence.analysis.comparisons import Comparison, against_reference, applied_teacher, summaries
from atod_sweep.evidence.analysis.curves import complete, reach_teacher, stacked
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.searches import Searched
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.stats.intervals import Interval, t_interval
from atod_sweep.records.metric_names import watched

Record = dict[str, Any]


def write(results: Results, folder: Path, search: Searched | None = None) -> tuple[Path, ...]:
    """Write every table that has rows, with those of the search if there was one, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = content(results, search)
    return tuple(write_rows(folder / f"{name}.csv", rows) for name, rows in tables.items() if rows)


def content(results: Results, search: Searched | None = None) -> dict[str, list[Record]]:
    """Every table by the name of its file, as rows; without rows where there is nothing to tell."""
    return {
        "trials": _trials(results),
        "arms": _arms(results),
        "comparisons": [_comparison(c) for c in against_reference(results)],
        "verdicts": _verdicts(results),
        "summaries": _aggregates(results),
        "interactions": [
            {"arm": i.arm, "factor": i.factor, "level": i.level, "base": i.base} | _interval(i.interval)
            for i in interactions(results)
        ],
        "main_effects": [{"factor": e.name, "level": e.value} | _interval(e.interval) for e in main_effects(results)],
        "breadth": _breadth(results),
        "lost": [
            _row(
                {"arm": c.arm},
                c.levels,
                {"metric": c.metric, "start": c.start, "end": c.end.estimate, "teacher": c.teacher}
                | _interval(c.change),
            )
            for metric in [*lost.watched(results), lost.PROXY]
            for c in lost.changes(results, metric)
        ],
        **(_search(search) if search else {}),
        "reaching_the_teacher": _reaching(results),
        "curves": curves(results),
    }


def write_rows(path: Path, rows: list[Record]) -> Path:
    """One CSV file; its columns are the keys of all rows, in order of appearance. NaN is an empty cell."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows({key: "" if value != value else value for key, value in row.items()} for row in rows)
    return path


def _row(head: Record, levels: Mapping[str, str], rest: Record) -> Record:
    """A row with a column for every factor behind those of `head`: `level.NAME` where the table has a NAME."""
    taken = head.keys() | rest.keys()
    return head | {f"level.{name}" if name in taken else name: level for name, level in levels.items()} | rest


def _trials(results: Results) -> list[Record]:
    return [
        _row(
            {"trial": t.id, "arm": t.arm, "role": t.role},
            t.levels,
            {"seed": t.seed, "state": t.state, "attempt": t.attempt}
            | {"config_hash": t.config_hash, "seconds": t.seconds, "applied_teacher": applied_teacher(t)}
            | {f"start/{k}": v for k, v in t.start_metrics.items()}
            | t.metrics
            | {f"cost/{k}": v for k, v in t.cost.items()}
            | {"error": (t.error or {}).get("message", "")},
        )
        for t in results.trials
    ]


def _arms(results: Results) -> list[Record]:
    return [
        _row(
            {"arm": s.arm, "role": s.role},
            s.levels,
            {"n": len(s.scores), "expected": s.expected, "start": s.start}
            | _interval(s.interval)
            | {"applied_teacher": s.applied_teacher, "seconds": s.seconds}
            | {f"cost/{k}": v for k, v in s.cost.items()},
        )
        for s in summaries(results)
    ]


def _comparison(c: Comparison) -> Record:
    return _row(
        {"arm": c.arm, "other": c.other},
        c.levels,
        {"metric": c.metric}
        | _interval(c.interval)
        | {"sd": c.spread, "wins": c.wins, "losses": c.losses, "p": c.p, "p_holm": c.p_holm, "missing": len(c.missing)},
    )


def _verdicts(results: Results) -> list[Record]:
    """Estimates and limits in the claim's own direction, as docs/files.md says."""
    return [
        {"claim": v.claim, "registered": v.registered, "outcome": v.outcome, "holds": v.holds}
        | _interval(v.interval)
        | {"margin": v.hypothesis.margin, "test": v.test, "p": v.p, "p_holm": v.p_holm, "survives_holm": v.survives}
        | {f"p_{name}": p for name, p in v.decision.p_of.items()}
        | {f"collapsed_{side}": c.count for side, c in zip(("arm", "other"), v.collapses, strict=False)}
        | {"missing": len(v.comparison.missing), "detectable": v.detectable}
        for v in judge(results)
    ]


def _aggregates(results: Results) -> list[Record]:
    return [
        {"arm": a.arm, "seeds": a.seeds}
        | {name: each for name, each in a.summaries.items() if isinstance(each, float)}
        | {"beats_reference": a.improvement}
        | {k: v for n, x in a.summaries.items() if isinstance(x, Interval) for k, v in _interval(x, f"{n}_").items()}
        | _interval(a.area, "area_")
        for a in aggregate(results)
    ]


def _breadth(results: Results) -> list[Record]:
    rows: list[Record] = []
    for m in methods(results):
        for i, levels in enumerate(results.conditions):
            gain = _interval(m.gains[i].interval, "gain_") if m.gains else {}
            rows.append(_row({"method": m.name, "role": m.role}, levels, _interval(m.scores[i]) | gain))
    return rows


def _search(found: Searched) -> dict[str, list[Record]]:
    """Everything that a search tried, what it chose, what mattered, and its front."""
    names = [objective.name for objective in found.objectives]
    tried = [
        {"configuration": c.arm, "state": c.state} | dict(zip(names, c.scores or (), strict=False)) | c.values
        for c in found.configurations
    ]
    chosen = [
        {"configuration": c.arm, "searched": c.searched, "optimism": c.optimism} | _interval(c.confirmed)
        for c in found.chosen
    ]
    mattered = [{"objective": f.objective.name} | asdict(r) for f in found.importances for r in f.records]
    points = [("search", found.front.searched), ("confirm", found.front.confirmed)] if found.front else []
    best = [
        {"phase": phase, "configuration": p.arm, "seeds": p.seeds, "on_front": p.on_front}
        | dict(zip(names, p.values, strict=True))
        for phase, found_points in points
        for p in found_points
    ]
    moved = [
        {"objective": name, "parameter": t.parameter, "all_correlation": t.all.estimate, "all_n": t.all.n}
        | _interval(t.unseen, "unseen_")
        for name, records in zip(names, found.trends, strict=True)
        for t in records
    ]
    return {"configurations": tried, "chosen": chosen, "importance": mattered, "trends": moved, "front": best}


def _reaching(results: Results) -> list[Record]:
    return [
        _row(
            {"arm": r.arm},
            r.levels,
            {"teacher": r.level, "seeds": r.seeds, "unknown": r.unknown, "reached": r.reached, **r.median},
        )
        for r in reach_teacher(results)
    ]


def curves(results: Results) -> list[Record]:
    """The learning curves' means and intervals."""
    rows: list[Record] = []
    for levels in results.conditions:
        for arm in results.arms:
            x_E, y_SE = stacked(complete(results, arm, levels), watched(results.study.metric.name), "eval")
            for step, y_S in zip(x_E, y_SE.T, strict=True):
                rows.append(_row({"arm": arm}, levels, {"step": int(step)} | _interval(t_interval(y_S))))
    return rows


def _interval(i: Interval, prefix: str = "") -> Record:
    found = {"estimate": i.estimate, "low": i.low, "high": i.high, "confidence": i.level, "n": i.n}
    return {f"{prefix}{key}": value for key, value in found.items()}
