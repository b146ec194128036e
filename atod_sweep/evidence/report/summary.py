"""The data of the console's final table and verdict lines."""

from __future__ import annotations

from dataclasses import dataclass

from atod_sweep.evidence.analysis.comparisons import ArmSummary, Comparison, against_reference, summaries
from atod_sweep.evidence.analysis.results import Levels, Results, label
from atod_sweep.evidence.analysis.text import count, duration, estimate
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.stats.intervals import Interval


@dataclass(frozen=True)
class ArmRow:
    """One line of the table of arms: numbers, and the same as text."""

    arm: str
    role: str
    levels: Levels
    n: int
    expected: int
    score: Interval
    difference: Interval | None  # to the reference arm; None for the reference itself
    wins: int
    losses: int
    env_steps: float
    seconds: float

    def cells(self) -> list[str]:
        """arm, n, result, difference, environment steps, time; a level goes with the arm's name."""
        where = label(self.levels)
        n = str(self.n) if self.n == self.expected else f"{self.n} of {self.expected}"
        difference = "reference" if self.difference is None else estimate(self.difference, signed=True)
        return [
            f"{self.arm} ({where})" if where else self.arm,
            n,
            estimate(self.score),
            difference,
            count(self.env_steps),
            duration(self.seconds),
        ]


def arm_table(results: Results) -> list[ArmRow]:
    """Rows for every arm and trained control, condition by condition."""
    differences = {(c.arm, label(c.levels)): c for c in against_reference(results)}
    return [_row(s, differences.get((s.arm, label(s.levels)))) for s in summaries(results)]


def _row(summary: ArmSummary, comparison: Comparison | None) -> ArmRow:
    return ArmRow(
        arm=summary.arm,
        role=summary.role,
        levels=summary.levels,
        n=len(summary.scores),
        expected=summary.expected,
        score=summary.interval,
        difference=comparison.interval if comparison else None,
        wins=comparison.wins if comparison else 0,
        losses=comparison.losses if comparison else 0,
        env_steps=summary.cost.get("env_steps", float("nan")),
        seconds=summary.seconds,
    )


def header(results: Results) -> list[str]:
    """The titles over `ArmRow.cells()`."""
    metric = results.study.measure
    return ["arm", "n", metric, f"vs {results.study.reference}", "env steps", "time"]


def verdict_lines(results: Results) -> list[str]:
    """One line per claim."""
    return [verdict.line() for verdict in judge(results)]


def lines(results: Results) -> list[str]:
    """The table and the verdicts as plain text, columns aligned."""
    table = [header(results), *(row.cells() for row in arm_table(results))]
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
