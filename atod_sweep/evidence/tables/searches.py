"""Tables of a search: its configurations, what the chosen ones kept, and what failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from atod_sweep.evidence.analysis.results import Trial
from atod_sweep.evidence.analysis.searches import Quote, Searched, short_names
from atod_sweep.evidence.analysis.text import MINUS, NOTHING, estimate, number, plural
from atod_sweep.evidence.tables.cells import Cell, Table, error_text, interval_cell, number_cell

SHOWN = 12  # configurations of a search in the report; all of them are in tables/configurations.csv
ENDS = {
    "COMPLETE": "complete",
    "PRUNED": "stopped early",
    "FAIL": "failed",
    "SILENT": "without a result",
    "RUNNING": "under way",
}


def configurations(found: Searched) -> Table:
    """The best configurations of a search with their parameters."""
    names = short_names(found.keys)
    metrics = [objective.name.removeprefix("eval/") for objective in found.objectives]
    rows = [
        [
            Cell(c.arm),
            *(Cell(number(score, 3), score) for score in c.scores or [math.nan] * len(found.objectives)),
            *([Cell(str(c.seeds), c.seeds)] if found.racing else []),
            Cell(ENDS[c.state]),
            *(_value(c.values.get(key)) for key in found.keys),
        ]
        for c in found.ranked[:SHOWN]
    ]
    caption = (
        f"The {len(rows)} best of {plural(len(found.configurations), 'configuration')}, by their mean over "
        f"{found.over_seeds}. The best of many looks better than it is: judge by the fresh seeds."
    )
    if found.racing:
        caption += (
            " They raced: each earned its next seed while it may still have been best, and those that ran again were "
            "chosen by their mean less its standard error, so that one lucky seed does not win."
        )
    seeds = ["seeds"] if found.racing else []
    return Table(caption, ["configuration", *metrics, *seeds, "ended", *(names[key] for key in found.keys)], rows)


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
            interval_cell(c.confirmed),
            Cell(number(c.optimism, 3, signed=True), c.optimism),
        ]
        for c in found.chosen
    ]
    caption = (
        f"Mean {metric} on the {found.over_seeds} that the search chose by, and on seeds that it never saw "
        "(95 % interval). Optimism: how much better the search saw it."
    )
    return Table(caption, ["chosen", "in the search", "on fresh seeds", "optimism"], rows)


def quote(found: Searched) -> str:
    """What the search is worth, in sentences; empty where nothing ran on fresh seeds."""
    q = found.quote
    if q is None:
        return ""
    if not q.first_gain.n:
        gain = estimate(q.best_gain, 3, signed=True)
        return (
            f"The search's first choice, {q.first}, has no result on fresh seeds. Of those it ranked lower {q.best} "
            f"did best there, {gain} (an interval for {q.candidates} at once), which does not speak for the search."
        )
    text = (
        f"The search's first choice, {q.first}, was fixed before any fresh seed had run: it is {worth(q)} "
        f"on {plural(q.first_gain.n, 'fresh seed')}."
    )
    if q.best != q.first:
        text += (
            f" Of the {q.candidates} that ran again {q.best} did best there, {estimate(q.best_gain, 3, signed=True)}; "
            "picked on the seeds that it is judged by, it looks better than it is, and its interval is widened to hold "
            f"for all {q.candidates} at once."
        )
    return text


def worth(q: Quote) -> str:
    """The first choice's gain, in words that say no more than its interval."""
    gain = estimate(q.first_gain, 3, signed=True)
    if not q.told_apart:
        return f"not told apart from the reference ({gain})"
    return f"{gain} better than the reference" if q.first_gain.estimate > 0 else f"worse than the reference ({gain})"


def trends(found: Searched) -> list[Table]:
    """Rank correlations and slices by parameter, one table per objective."""
    names = short_names(found.keys)
    tables = []
    for objective, records in zip(found.objectives, found.trends, strict=True):
        rows = [
            [
                Cell(names[t.parameter]),
                Cell(str(t.unseen.n or sum(s.score.n for s in t.slices)), t.unseen.n),
                Cell(estimate(t.unseen, 2, signed=True), t.unseen.estimate),
                Cell(number(t.all.estimate, 2, signed=True), t.all.estimate),
                Cell("; ".join(f"{s.values}: {estimate(s.score, 3)}" for s in t.slices) or NOTHING),
            ]
            for t in records
        ]
        metric, rank = objective.name.removeprefix("eval/"), objective == found.objectives[0]
        caption = (
            f"Rank correlation of each parameter with better {metric}, and mean {metric} by parts of its range, with "
            "95 % intervals, on configurations that were drawn before the sampler saw any result. Over all of them the "
            "sampler went where it was good, so that correlation is only an indication; but it shows what importance "
            "cannot, a parameter on which the search has settled."
        )
        if any(c.state == "PRUNED" for c in found.configurations):
            worse = "count as worse than all others in the correlations, and in no mean" if rank else "are left out"
            caption += f" Configurations that were stopped early {worse}."
        tables.append(Table(caption, ["parameter", "draws", "correlation", "over all", f"mean {metric}"], rows))
    return tables


def failures(trials: Sequence[Trial]) -> Table:
    """Trials of a search that failed, with the error's message."""
    failed = [t for t in trials if t.state == "FAILED"]
    rows = [
        [Cell(t.arm), Cell(str(t.seed), t.seed), Cell((t.error or {}).get("status", "")), Cell(error_text(t.error))]
        for t in failed
    ]
    caption = "Trials of the search that failed; their configurations count as failed, not as bad."
    return Table(caption, ["configuration", "seed", "state", "error"], rows)
