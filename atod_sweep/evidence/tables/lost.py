"""Tables of what was lost: one per metric that nobody optimised."""

from __future__ import annotations

import math

from atod_sweep.evidence.analysis.lost import RESTRAINT, Change, Gaming, changes, gaming, watched
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.text import between
from atod_sweep.evidence.tables.cells import Cell, Table, interval_cell, number_cell, percent_cell
from atod_sweep.records.metric_names import bounds


def tables(results: Results) -> list[Table]:
    """From step 0 to the end, arm by arm, with intervals over seeds."""
    found = [_table(results, name, changes(results, name)) for name in watched(results)]
    return [_gaming(results, gaming(results)), *found]


def _gaming(results: Results, found: list[Gaming]) -> Table:
    """The reward that was trained on, beside the truth."""
    header = ["arm", *results.study.factors, "proxy at step 0", "change", "success at step 0", "change", "seeds", ""]
    rows = [
        [
            Cell(g.proxy.arm),
            *(Cell(level) for level in g.proxy.levels.values()),
            number_cell(g.proxy.start),
            interval_cell(g.proxy.change, signed=True),
            number_cell(g.truth.start),
            interval_cell(g.truth.change, signed=True),
            Cell(f"{g.seeds} of {g.truth.change.n}", g.seeds),
            Cell(g.verdict),
        ]
        for g in found
    ]
    caption = (
        "The reward that was trained on (eval/proxy), and the success that it stands for. Seeds: on which one rose and "
        "the other fell. Hacked: so over the seeds, both 95 % intervals clear of 0."
    )
    return Table(caption, header, rows)


def _table(results: Results, metric: str, found: list[Change]) -> Table:
    header = ["arm", *results.study.factors, "seeds", "at step 0", "at the end", "change", "teacher"]
    shared = metric == RESTRAINT
    rows = [
        [
            Cell(c.arm),
            *(Cell(level) for level in c.levels.values()),
            Cell(str(c.end.n), c.end.n),
            number_cell(c.start),
            interval_cell(c.end),
            interval_cell(c.change, signed=True),
            number_cell(c.teacher),
            *([percent_cell(c.end.estimate / c.teacher if c.teacher else math.nan)] if shared else []),
        ]
        for c in found
    ]
    if shared:
        header.append("kept of the teacher's")
    better = "more" if found and found[0].sign > 0 else "less"
    over = between((c.end.n for c in found), "seed") + (" and the tasks drawn" if bounds(metric) else "")
    return Table(f"{metric}: {better} is better; 95 % intervals over {over}, changes paired by seed.", header, rows)
