"""Tables about the arms: results, costs, what is missing, and when the teacher was reached."""

from __future__ import annotations

import math
from collections.abc import Callable

from atod_sweep.evidence.analysis.comparisons import ArmSummary, Comparison, compare
from atod_sweep.evidence.analysis.curves import COUNTERS, Reached
from atod_sweep.evidence.analysis.results import Levels, Results, label
from atod_sweep.evidence.analysis.scores import fixed_level, teacher_level
from atod_sweep.evidence.analysis.text import NOTHING, count, duration, estimate, p_value
from atod_sweep.evidence.tables.cells import Cell, Table, arm_cells, error_text, interval_cell, number_cell

COSTS = {
    "updates": "updates",
    "episodes": "episodes",
    "env_steps": "env steps",
    "tokens": "student tokens",
    "generated_tokens": "generated tokens",
    "teacher_tokens": "teacher tokens",
    "teacher_money": "paid for the teacher",
}


def scores(results: Results, summaries: list[ArmSummary], comparisons: list[Comparison]) -> Table:
    """n, result, difference to the reference with interval, wins and losses, p; arms with gaps say `2 of 3`."""
    by_cell = {(c.arm, label(c.levels)): c for c in comparisons}
    metric = results.study.measure
    header = ["arm", *results.study.factors, "seeds", "at step 0", metric]
    header += [f"minus {results.study.reference}", "wins : losses", "p", "p (Holm)"]
    rows = [
        [
            *(*arm_cells(s), _seeds(s), number_cell(s.start), interval_cell(s.interval)),
            *_versus(s, results.study.reference, by_cell.get((s.arm, label(s.levels)))),
        ]
        for s in summaries
    ]
    rows += [row for levels in results.conditions if (row := _teacher(results, levels))]
    caption = (
        f"Mean {metric} and mean paired difference, each with its 95 % interval over seeds{_and_tasks(results)}. p: "
        "paired t test, which goes with the interval; Holm: corrected for the number of arms compared."
    )
    return Table(caption, header, rows)


def _and_tasks(results: Results) -> str:
    """What levels allow for beside seeds."""
    if sets := results.task_sets(results.study.metric.name):
        return f" and {sets} task sets"
    if any(c.tasks for c in [compare(results, a, "teacher", {}, results.study.metric) for a in results.arms[:1]]):
        return "; of levels and of differences to the teacher also over the tasks drawn, of which there is one set"
    return ""


def _teacher(results: Results, levels: Levels) -> list[Cell] | None:
    """The teacher's own result: a fixed model, whose interval is that of the tasks drawn."""
    level = teacher_level(results, levels, results.study.metric)
    if math.isnan(level):
        return None
    c = compare(results, "teacher", results.study.reference, levels, results.study.metric)
    cells = [Cell("teacher (itself)"), *(Cell(name) for name in levels.values()), Cell(NOTHING), Cell(NOTHING)]
    score = Cell(estimate(fixed_level(results, "teacher", levels), 3), level)
    if not c.values:
        return [*cells, score, *[Cell(NOTHING)] * 4]
    versus = [interval_cell(c.interval, signed=True), Cell(f"{c.wins} : {c.losses}")]
    return [*cells, score, *versus, Cell(p_value(c.p), c.p), Cell(NOTHING)]


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


def _seeds(s: ArmSummary) -> Cell:
    n = len(s.scores)
    return Cell(f"{n} of {s.expected}" if s.missing else str(n), n)


def costs(results: Results, summaries: list[ArmSummary]) -> Table:
    """Mean cost of one complete trial, and the mean teacher weight that it applied."""
    keys = [key for key in COSTS if any(key in s.cost for s in summaries)]
    weighed = not all(math.isnan(s.applied_teacher) for s in summaries)  # it is in the trials' records alone
    header = ["arm", *results.study.factors, *(["teacher weight"] if weighed else []), *(COSTS[key] for key in keys)]
    header.append("time")
    rows = [
        [*arm_cells(s), *([number_cell(s.applied_teacher)] if weighed else [])]
        + [Cell(count(value), value) for value in (s.cost.get(key, math.nan) for key in keys)]
        + [Cell(duration(s.seconds), s.seconds)]
        for s in summaries
    ]
    weight = " Teacher weight: mean weight of the teacher's term per generated token, as applied." if weighed else ""
    caption = (
        f"Mean per complete trial.{weight} Student tokens: read and written in training; generated ones carry the loss."
    )
    return Table(caption, header, rows)


def missing(results: Results) -> Table:
    """Every cell of the design without a result, with the error's message."""
    rows = []
    for gap in results.missing():
        trial = results.find(gap.arm, gap.levels, gap.seed)
        levels = [Cell(level) for level in gap.levels.values()]
        error = Cell(error_text(trial.error if trial else None))
        rows.append([Cell(gap.arm), *levels, Cell(str(gap.seed), gap.seed), Cell(gap.reason), error])
    header = ["arm", *results.study.factors, "seed", "state", "error"]
    return Table("Cells without a result; no average above includes them.", header, rows)


def reaching(found: list[Reached], results: Results) -> Table:
    """Cost until an arm is at the teacher's level."""
    header = ["arm", *results.study.factors, "teacher", "seeds there", "step", "env steps", "teacher tokens", "time"]
    rows = [
        [
            Cell(r.arm),
            *(Cell(level) for level in r.levels.values()),
            number_cell(r.level),
            Cell(_there(r), r.reached if r.seeds else math.nan),
            *(_reached(r.median[x], duration if x == "cost/seconds" else count) for x in COUNTERS),
        ]
        for r in found
    ]
    caption = (
        "Until two evaluations in a row (or the last one) are at the teacher's own level: median over seeds; "
        "a seed that never gets there counts as later than all others."
    )
    return Table(caption, header, rows)


def _there(r: Reached) -> str:
    if not r.seeds:
        return "no record"
    return f"{r.reached} of {r.seeds}" + (f" ({r.unknown} without a record)" if r.unknown else "")


def _reached(value: float, words: Callable[[float], str]) -> Cell:
    return Cell("not reached") if math.isinf(value) else Cell(words(value), value)
