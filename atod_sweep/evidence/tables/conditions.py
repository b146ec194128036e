"""Tables over the conditions of a study: aggregates, tasks, interactions and main effects."""

from __future__ import annotations

import math

from atod_sweep.evidence.analysis.aggregates import Aggregate, Interaction, MainEffect
from atod_sweep.evidence.analysis.breadth import Method
from atod_sweep.evidence.analysis.learning import not_learning
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.text import NOTHING, between, number, plural
from atod_sweep.evidence.stats.aggregate import SUMMARIES
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.tables.cells import Cell, Table, interval_cell, number_cell, percent_cell


def breadth(found: list[Method], results: Results) -> Table:
    """A column per task: the mean, and in brackets the improvement over the teacher."""
    stalled = not_learning(results)
    tasks = [
        f"{', '.join(levels.values())}{' (not learning)' if levels in stalled else ''}" for levels in results.conditions
    ]
    rows = []
    for m in found:
        gains = [f" ({number(g.interval.estimate, 3, True)})" for g in m.gains or []] or [""] * len(m.scores)
        cells = [Cell(f"{number(s.estimate, 3)}{gain}", s.estimate) for s, gain in zip(m.scores, gains, strict=True)]
        lead = Cell(NOTHING) if m.gain is None else interval_cell(m.gain.interval, signed=True)
        name = f"{m.name} (control)" if m.role == "control" else m.name
        rows.append([Cell(name), *cells, number_cell(m.mean), interval_cell(m.iqm), lead])
    metric = results.study.measure
    seeds = between((s.n for m in found if m.role in ("arm", "control") for s in m.scores), "seed")
    caption = (
        f"Mean {metric} by task over {seeds}; in brackets, minus the teacher's own. Over "
        "all tasks: mean, interquartile mean of all runs, and mean difference to the teacher, with 95 % intervals. "
        "Tasks are strata, and what one seed does to all tasks counts once. The interquartile mean leaves out the "
        "lowest and the highest quarter of all runs, and so a task on which a method always fails: it "
        "is in the mean alone."
    )
    return Table(caption, ["method", *tasks, "mean", "interquartile mean", "minus teacher"], rows)


def summary(found: list[Aggregate], results: Results) -> Table:
    """Arms over all conditions by statistics that one lucky run cannot move."""
    curved = not all(math.isnan(a.area.estimate) for a in found)  # curves are in the trials' records alone
    header = ["arm", "seeds", *(each.name for each in SUMMARIES.values()), f"beats {results.study.reference}"]
    header += ["area under curve"] if curved else []
    rows = [
        [
            Cell(a.arm),
            Cell(str(a.seeds), a.seeds),
            *(interval_cell(x) if isinstance(x, Interval) else number_cell(x) for x in a.summaries.values()),
            percent_cell(a.improvement),
            *([interval_cell(a.area)] if curved else []),
        ]
        for a in found
    ]
    where = f"All runs of an arm ({plural(len(results.conditions), 'condition')} × seeds) together. "
    words = "".join(f"{each.name.capitalize()}: {each.words}. " for each in SUMMARIES.values() if each.words)
    caption = (
        f"{where if len(results.conditions) > 1 else ''}{words}"
        "Beats: chance that a random run is better than a random run of the reference."
    )
    if curved:
        caption += " Area under curve: mean height of the learning curve, so that early learning counts."
    caption += " 95 % intervals over seeds."
    return Table(caption, header, rows)


def interactions(found: list[Interaction], results: Results) -> Table:
    """Differences of differences, one row per arm and level."""
    header = ["arm", "factor", "levels", "change of its lead"]
    rows = [
        [Cell(i.arm), Cell(i.factor), Cell(f"{i.level} against {i.base}"), interval_cell(i.interval, signed=True)]
        for i in found
    ]
    caption = (
        f"An arm's difference to {results.study.reference} at one level minus the same at the other, with its 95 % "
        "interval: above 0, the level favours the arm."
    )
    return Table(caption, header, rows)


def main_effects(found: list[MainEffect]) -> Table:
    """Deviations from the grand mean."""
    rows = [[Cell(e.name), Cell(e.value), interval_cell(e.interval, signed=True)] for e in found]
    caption = "Mean over everything else minus the grand mean, with its 95 % interval over seeds that have every cell."
    return Table(caption, ["factor", "level", "main effect"], rows)
