"""The report's tables: one record that Markdown and HTML both print."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from atod_sweep.evidence.aggregates import Aggregate, Interaction, MainEffect
from atod_sweep.evidence.comparisons import ArmSummary, Comparison
from atod_sweep.evidence.curves import COUNTERS, Reached
from atod_sweep.evidence.results import Results, label
from atod_sweep.evidence.stats import power, significance
from atod_sweep.evidence.text import MINUS, NOTHING, count, duration, estimate, number, p_value, plural
from atod_sweep.evidence.verdicts import Verdict

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


def claims(verdicts: list[Verdict]) -> Table:
    """The verdicts in numbers: difference, exact and Holm-corrected p of the claim, power, gain from pairing."""
    adjusted = significance.holm([v.p if v.registered else math.nan for v in verdicts])
    rows = []
    for v, p_holm in zip(verdicts, adjusted, strict=True):
        a, b = zip(*v.comparison.pairs.values(), strict=True) if v.n else ((), ())
        rows.append(
            [
                Cell(v.claim),
                Cell(v.outcome),
                Cell(str(v.n), v.n),
                Cell(
                    f"{estimate(v.interval, 3, signed=True)}{' (90 %)' if v.interval.level == 0.9 else ''}",
                    v.interval.estimate,
                ),
                Cell(p_value(v.p), v.p),
                Cell(p_value(float(p_holm)), float(p_holm)),
                _number(significance.probability_better(v.comparison.values)),
                _number(power.minimum_detectable(v.comparison.spread, v.n) if v.n > 1 else math.nan),
                _percent(power.variance_removed(a, b)),
            ]
        )
    header = ["claim", "verdict", "seeds", "difference", "p", "p (Holm)", "P(better)", "detectable", "pairing removes"]
    caption = (
        "p: exact sign-flip test of the claim's bound (two one-sided t tests for equivalence); Holm: over the claims "
        "made beforehand. P(better): probability that the true mean difference is above 0, given these seeds and no "
        "prior opinion. Detectable: the difference that this many seeds see with 80 % power. Pairing removes: share of "
        "the variance of the difference that common seeds take away."
    )
    return Table(caption, header, rows)


def summary(found: list[Aggregate], results: Results) -> Table:
    """Arms over all conditions by statistics that one lucky run cannot move."""
    header = ["arm", "seeds", "interquartile mean", "median", f"beats {results.study.reference}", "area under curve"]
    rows = [
        [
            Cell(a.arm),
            Cell(str(a.seeds), a.seeds),
            Cell(estimate(a.iqm, 3), a.iqm.estimate),
            _number(a.median),
            _percent(a.improvement),
            Cell(estimate(a.area, 3), a.area.estimate),
        ]
        for a in found
    ]
    where = f"All runs of an arm ({plural(len(results.conditions), 'condition')} × seeds) together. "
    caption = (
        f"{where if len(results.conditions) > 1 else ''}Interquartile mean: mean of the middle half of the runs. "
        "Beats: chance that a random run is better than a random run of the reference. Area under curve: mean height "
        "of the learning curve, so that early learning counts. 95 % intervals over seeds."
    )
    return Table(caption, header, rows)


def interactions(found: list[Interaction], results: Results) -> Table:
    """Differences of differences, one row per arm and level."""
    header = ["arm", "factor", "levels", "change of its lead"]
    rows = [
        [
            Cell(i.arm),
            Cell(i.factor),
            Cell(f"{i.level} against {i.base}"),
            Cell(estimate(i.interval, 3, signed=True), i.interval.estimate),
        ]
        for i in found
    ]
    caption = (
        f"An arm's difference to {results.study.reference} at one level minus the same at the other, with its 95 % "
        "interval: above 0, the level favours the arm."
    )
    return Table(caption, header, rows)


def main_effects(found: list[MainEffect]) -> Table:
    """Deviations from the grand mean."""
    rows = [
        [Cell(e.name), Cell(e.value), Cell(estimate(e.interval, 3, signed=True), e.interval.estimate)] for e in found
    ]
    caption = "Mean over everything else minus the grand mean, with its 95 % interval over seeds that have every cell."
    return Table(caption, ["factor", "level", "main effect"], rows)


def reaching(found: list[Reached], results: Results) -> Table:
    """Cost until an arm is at the teacher's level."""
    header = ["arm", *results.study.factors, "teacher", "seeds there", "step", "env steps", "teacher tokens", "time"]
    rows = [
        [
            Cell(r.arm),
            *(Cell(level) for level in r.levels.values()),
            _number(r.level),
            Cell(f"{r.reached} of {r.seeds}", r.reached),
            *(_reached(r.median[x], count) for x in COUNTERS[:-1]),
            _reached(r.median[COUNTERS[-1]], duration),
        ]
        for r in found
    ]
    caption = (
        "Until two evaluations in a row (or the last one) are at the teacher's own level: median over seeds; "
        "a seed that never gets there counts as later than all others."
    )
    return Table(caption, header, rows)


def _reached(value: float, words: Callable[[float], str]) -> Cell:
    return Cell("not reached") if math.isinf(value) else Cell(words(value), value)


def _percent(value: float) -> Cell:
    return Cell(NOTHING if math.isnan(value) else f"{100 * value:.0f} %".replace("-", MINUS), value)


def _cell_name(s: ArmSummary) -> list[Cell]:
    """The arm, and its level of every factor."""
    name = f"{s.arm} (control)" if s.role == "control" else s.arm
    return [Cell(name), *(Cell(level) for level in s.levels.values())]


def _seeds(s: ArmSummary) -> Cell:
    n = len(s.scores)
    return Cell(f"{n} of {s.expected}" if s.missing else str(n), n)


def _number(value: float) -> Cell:
    return Cell(number(value, 3), value)
