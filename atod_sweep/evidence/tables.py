"""The report's tables: one record that Markdown and HTML both print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from atod_sweep.evidence.aggregates import Aggregate, Interaction, MainEffect
from atod_sweep.evidence.breadth import Method
from atod_sweep.evidence.comparisons import ArmSummary, Comparison, compare, teacher_level
from atod_sweep.evidence.curves import COUNTERS, Reached
from atod_sweep.evidence.learning import not_learning
from atod_sweep.evidence.results import Levels, Results, Trial, label
from atod_sweep.evidence.searches import Searched, short_names
from atod_sweep.evidence.stats import power, significance
from atod_sweep.evidence.text import MINUS, NOTHING, count, duration, estimate, number, p_value, plural
from atod_sweep.evidence.verdicts import Verdict

COSTS = {
    "updates": "updates",
    "episodes": "episodes",
    "env_steps": "env steps",
    "tokens": "student tokens",
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
    rows += [row for levels in results.conditions if (row := _teacher(results, levels))]
    least = significance.smallest_p(len(results.seeds))
    floor = (
        f" (with {plural(len(results.seeds), 'seed')} it cannot go below {number(least, 4)})" if least > 5e-4 else ""
    )
    caption = (
        f"Mean {metric} and mean paired difference, each with its 95 % interval over seeds. p: exact sign-flip test"
        f"{floor}; Holm: corrected for the number of arms compared."
    )
    return Table(caption, header, rows)


def _teacher(results: Results, levels: Levels) -> list[Cell] | None:
    """The teacher's own result: a fixed model, so without an interval of its own."""
    level = teacher_level(results, levels, results.study.metric)
    if math.isnan(level):
        return None
    c = compare(results, "teacher", results.study.reference, levels, results.study.metric)
    cells = [Cell("teacher (itself)"), *(Cell(name) for name in levels.values()), Cell(NOTHING), Cell(NOTHING)]
    if not c.values:
        return [*cells, _number(level), *[Cell(NOTHING)] * 4]
    versus = [Cell(estimate(c.interval, 3, signed=True), c.interval.estimate), Cell(f"{c.wins} : {c.losses}")]
    return [*cells, _number(level), *versus, Cell(p_value(c.p), c.p), Cell(NOTHING)]


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
        lead = Cell(NOTHING) if m.gain is None else Cell(estimate(m.gain.interval, 3, True), m.gain.interval.estimate)
        name = f"{m.name} (control)" if m.role == "control" else m.name
        rows.append([Cell(name), *cells, _number(m.mean), Cell(estimate(m.iqm, 3), m.iqm.estimate), lead])
    metric = results.study.metric.name.removeprefix("eval/")
    caption = (
        f"Mean {metric} by task over {plural(len(results.seeds), 'seed')}; in brackets, minus the teacher's own. Over "
        "all tasks: mean, interquartile mean of all runs, and mean difference to the teacher, with 95 % intervals. "
        "Tasks are strata, and what one seed does to all tasks counts once."
    )
    return Table(caption, ["method", *tasks, "mean", "interquartile mean", "minus teacher"], rows)


SHOWN = 12  # configurations of a search in the report; all of them are in tables/configurations.csv


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


ENDS = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "under way"}


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
            _number(c.searched),
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
        [Cell(t.arm), Cell(str(t.seed), t.seed), Cell((t.error or {}).get("status", "")), Cell(_message(t.error))]
        for t in failed
    ]
    caption = "Trials of the search that failed; their configurations count as failed, not as bad."
    return Table(caption, ["configuration", "seed", "state", "error"], rows)


def _message(error: dict[str, str] | None) -> str:
    return f"{error['type']}: {error['message']}" if error else NOTHING


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
        "Mean per complete trial. Teacher weight: mean weight of the teacher's term per generated token, as applied. "
        "Student tokens: read and written in training; generated ones carry the loss."
    )
    return Table(caption, header, rows)


def missing(results: Results) -> Table:
    """Every cell of the design without a result, with the error's message."""
    rows = []
    for gap in results.missing():
        trial = results.find(gap.arm, gap.levels, gap.seed)
        levels = [Cell(level) for level in gap.levels.values()]
        rows.append(
            [
                Cell(gap.arm),
                *levels,
                Cell(str(gap.seed), gap.seed),
                Cell(gap.reason),
                Cell(_message(trial.error if trial else None)),
            ]
        )
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
                _number(_detectable(v)),
                _percent(power.variance_removed(a, b)),
            ]
        )
    header = ["claim", "verdict", "seeds", "difference", "p", "p (Holm)", "P(better)", "detectable", "pairing removes"]
    test = "exact sign-flip test of the claim's bound (two one-sided t tests for equivalence)"
    detectable = " Detectable: the difference that this many seeds see with 80 % power."
    if any(v.sequential for v in verdicts):
        test, detectable = "anytime-valid, of the claim's bound (its interval leaves out what has p < 0.05)", ""
    caption = (
        f"p: {test}; Holm: over the claims made beforehand. P(better): probability that the true mean difference is "
        f"above 0, given these seeds and no prior opinion.{detectable} Pairing removes: share of the variance of the "
        "difference that common seeds take away."
    )
    return Table(caption, header, rows)


def _detectable(v: Verdict) -> float:
    """Nothing where seeds were added on the way: power is that of one look at a fixed number of seeds."""
    return math.nan if v.sequential or v.n < 2 else power.minimum_detectable(v.comparison.spread, v.n)


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
