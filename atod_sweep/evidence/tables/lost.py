"""Tables of what was lost: one per metric that nobody optimised."""

from __future__ import annotations

from atod_sweep.evidence.analysis.lost import Change, changes, watched
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.text import between, estimate
from atod_sweep.evidence.tables.cells import Cell, Table, number_cell


def tables(results: Results) -> list[Table]:
    """From step 0 to the end, arm by arm, with intervals over seeds."""
    return [_table(results, name, changes(results, name)) for name in watched(results)]


def _table(results: Results, metric: str, found: list[Change]) -> Table:
    header = ["arm", *results.study.factors, "seeds", "at step 0", "at the end", "change", "teacher"]
    rows = [
        [
            Cell(c.arm),
            *(Cell(level) for level in c.levels.values()),
            Cell(str(c.end.n), c.end.n),
            number_cell(c.start),
            Cell(estimate(c.end, 3), c.end.estimate),
            Cell(estimate(c.change, 3, signed=True), c.change.estimate),
            number_cell(c.teacher),
        ]
        for c in found
    ]
    better = "more" if found and found[0].sign > 0 else "less"
    seeds = between((c.end.n for c in found), "seed")
    return Table(f"{metric}: {better} is better; 95 % intervals over {seeds}, changes paired by seed.", header, rows)
