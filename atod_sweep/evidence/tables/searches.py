"""Tables of a search: its configurations, what the chosen ones kept, and what failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from atod_sweep.evidence.analysis.results import Trial
from atod_sweep.evidence.analysis.searches import Searched, short_names
from atod_sweep.evidence.analysis.text import MINUS, NOTHING, estimate, number, plural
from atod_sweep.evidence.tables.cells import Cell, Table, error_text, number_cell

SHOWN = 12  # configurations of a search in the report; all of them are in tables/configurations.csv
ENDS = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "under way"}


def configurations(found: Searched) -> Table:
    """The best configurations of a search with their parameters."""
    names = short_names(found.keys)
    metrics = [objective.name.removeprefix("eval/") for objective in found.objectives]
    rows = [
        [
            Cell(c.arm),
            *(Cell(number(score, 3), score) for score in c.scores or [math.nan] * len(found.objectives)),
            Cell(ENDS[c.state]),
            *(_value(c.values.get(key)) for key in found.keys),
        ]
        for c in found.ranked[:SHOWN]
    ]
    caption = (
        f"The {len(rows)} best of {plural(len(found.configurations), 'configuration')}, by their mean over "
        f"{plural(found.seeds, 'seed')}. The best of many looks better than it is: judge by the fresh seeds."
    )
    return Table(caption, ["configuration", *metrics, "ended", *(names[key] for key in found.keys)], rows)


def _value(value: Any) -> Cell:
    if value is None:
        return Cell(NOTHING)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(str(value))
    return Cell(f"{value:.3g}".replace("-", MINUS), float(value))


def optimism(found: Searched) -> Table:
    """What the chosen configurations promised, and what they kept."""
    metric = found.objectives[0].name.removeprefix("eval/")
    rows = [
        [
            Cell(c.arm),
            number_cell(c.searched),
            Cell(estimate(c.confirmed, 3), c.confirmed.estimate),
            Cell(number(c.optimism, 3, signed=True), c.optimism),
        ]
        for c in found.chosen
    ]
    caption = (
        f"Mean {metric} on the {plural(found.seeds, 'seed')} that the search chose by, and on seeds that it never saw "
        "(95 % interval). Optimism: how much better the search saw it."
    )
    return Table(caption, ["chosen", "in the search", "on fresh seeds", "optimism"], rows)


def failures(trials: Sequence[Trial]) -> Table:
    """Trials of a search that failed, with the error's message."""
    failed = [t for t in trials if t.state == "FAILED"]
    rows = [
        [Cell(t.arm), Cell(str(t.seed), t.seed), Cell((t.error or {}).get("status", "")), Cell(error_text(t.error))]
        for t in failed
    ]
    caption = "Trials of the search that failed; their configurations count as failed, not as bad."
    return Table(caption, ["configuration", "seed", "state", "error"], rows)
