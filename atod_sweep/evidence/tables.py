"""The report's tables: one record that Markdown and HTML both print."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atod_sweep.evidence.comparisons import ArmSummary, Comparison
from atod_sweep.evidence.results import Results, label
from atod_sweep.evidence.text import NOTHING, count, duration, estimate, number, p_value

COSTS = {
    "updates": "updates",
    "episodes": "episodes",
    "env_steps": "env steps",
    "tokens": "tokens",
    "generated_tokens": "generated tokens",
    "teacher_tokens": "teacher tokens",
}


@dataclass(frozen=True)
class Cell:
    """What is printed, and the number to sort by (NaN: sort by the text)."""

    text: str
    value: float = math.nan


@dataclass(frozen=True)
class Table:
    """A table with its caption; the first column holds names, the others are set right."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]


def arms(results: Results, summaries: list[ArmSummary], comparisons: list[Comparison]) -> Table:
    """n, result, difference to the reference with interval, wins and losses, p; arms with gaps say `2 of 3`."""
    by_cell = {(c.arm, label(c.levels)): c for c in comparisons}
    metric = results.study.metric.name.removeprefix("eval/")
    header = [
        "arm",
        *results.study.factors,
        "seeds",
        "at step 0",
        metric,
        f"minus {results.study.reference}",
        "wins : losses",
        "p",
        "p (Holm)",
    ]
    rows = [
        [
            *_cell_name(s),
            _seeds(s),
            _number(s.start),
            Cell(estimate(s.interval, 3), s.interval.estimate),
            *_versus(s, results.study.reference, by_cell.get((s.arm, label(s.levels)))),
        ]
        for s in summaries
    ]
    caption = (
        f"Mean {metric} and mean paired difference, each with its 95 % interval over seeds. p: exact sign-flip test; "
        "Holm: corrected for the number of arms compared."
    )
    return Table(caption, header, rows)


def _versus(s: ArmSummary, reference: str, c: Comparison | None) -> list[Cell]:
    if s.arm == reference:
        return [Cell("reference"), Cell(NOTHING), Cell(NOTHING), Cell(NOTHING)]
    if c is None or not c.values:
        return [Cell(NOTHING)] * 4
    mark = " *" if c.missing else ""
    return [
        Cell(estimate(c.interval, 3, signed=True) + mark, c.interval.estimate),
        Cell(f"{c.wins} : {c.losses}", c.wins - c.losses),
        Cell(p_value(c.p), c.p),
        Cell(p_value(c.p_holm), c.p_holm),
    ]


def costs(results: Results, summaries: list[ArmSummary]) -> Table:
    """Mean cost of one complete trial, and the mean teacher weight that it applied."""
    keys = [key for key in COSTS if any(key in s.cost for s in summaries)]
    header = ["arm", *results.study.factors, "teacher weight", *(COSTS[key] for key in keys), "time"]
    rows = [
        [*_cell_name(s), _number(s.applied_teacher)]
        + [Cell(count(value), value) for value in (s.cost.get(key, math.nan) for key in keys)]
        + [Cell(duration(s.seconds), s.seconds)]
        for s in summaries
    ]
    caption = (
        "Mean per complete trial. Teacher weight: mean weight of the teacher's term per generated token, as applied."
    )
    return Table(caption, header, rows)


def missing(results: Results) -> Table:
    """Every cell of the design without a result, with the error's message."""
    rows = []
    for gap in results.missing():
        trial = results.find(gap.arm, gap.levels, gap.seed)
        error = (trial.error if trial else None) or {}
        message = f"{error['type']}: {error['message']}" if error else NOTHING
        levels = [Cell(level) for level in gap.levels.values()]
        rows.append([Cell(gap.arm), *levels, Cell(str(gap.seed), gap.seed), Cell(gap.reason), Cell(message)])
    header = ["arm", *results.study.factors, "seed", "state", "error"]
    return Table("Cells without a result; no average above includes them.", header, rows)


def _cell_name(s: ArmSummary) -> list[Cell]:
    """The arm, and its level of every factor."""
    name = f"{s.arm} (control)" if s.role == "control" else s.arm
    return [Cell(name), *(Cell(level) for level in s.levels.values())]


def _seeds(s: ArmSummary) -> Cell:
    n = len(s.scores)
    return Cell(f"{n} of {s.expected}" if s.missing else str(n), n)


def _number(value: float) -> Cell:
    return Cell(number(value, 3), value)
