"""The data of the console's final table and verdict lines."""

from __future__ import annotations

import math

from atod_sweep.evidence.analysis.comparisons import ArmSummary, Comparison, against_reference, summaries
from atod_sweep.evidence.analysis.results import Results, label
from atod_sweep.evidence.analysis.text import count, duration, estimate
from atod_sweep.evidence.analysis.verdicts import judge


def arm_table(results: Results) -> list[list[str]]:
    """The cells of every arm and trained control, condition by condition."""
    versus = {(c.arm, label(c.levels)): c for c in against_reference(results)}
    return [_cells(s, versus.get((s.arm, label(s.levels)))) for s in summaries(results)]


def _cells(s: ArmSummary, versus: Comparison | None) -> list[str]:
    """arm, n, result, difference, environment steps, time; a level goes with the arm's name."""
    where = label(s.levels)
    return [
        f"{s.arm} ({where})" if where else s.arm,
        f"{len(s.scores)} of {s.expected}" if s.missing else str(len(s.scores)),
        estimate(s.interval),
        "reference" if versus is None else estimate(versus.interval, signed=True),
        count(s.cost.get("env_steps", math.nan)),
        duration(s.seconds),
    ]


def header(results: Results) -> list[str]:
    """The titles over the cells."""
    metric = results.study.measure
    return ["arm", "n", metric, f"vs {results.study.reference}", "env steps", "time"]


def verdict_lines(results: Results) -> list[str]:
    """One line per claim."""
    return [verdict.line() for verdict in judge(results)]


def lines(results: Results) -> list[str]:
    """The table and the verdicts as plain text, columns aligned."""
    table = [header(results), *arm_table(results)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    right = {1, 4, 5}
    text = [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    verdicts = verdict_lines(results)
    return [line.rstrip() for line in text] + ([""] if verdicts else []) + verdicts
