"""What stands below the opening of a report: tables and figures under their titles."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from atod_sweep.config.price import Price
from atod_sweep.evidence.analysis.aggregates import aggregate, interactions, main_effects
from atod_sweep.evidence.analysis.breadth import methods
from atod_sweep.evidence.analysis.comparisons import Best, against_reference, best_arm, summaries
from atod_sweep.evidence.analysis.curves import reach_teacher
from atod_sweep.evidence.analysis.results import Results, Trial
from atod_sweep.evidence.analysis.searches import Searched
from atod_sweep.evidence.analysis.text import count, duration, estimate, number, plural
from atod_sweep.evidence.analysis.verdict import Verdict
from atod_sweep.evidence.figures import claims as claim_figures
from atod_sweep.evidence.figures import cost, curves, factors, forest, lost, search, turns
from atod_sweep.evidence.figures.style import Figure
from atod_sweep.evidence.report.glossary import changes
from atod_sweep.evidence.tables import arms, claims, conditions, conversations, price, searches
from atod_sweep.evidence.tables import lost as lost_tables
from atod_sweep.evidence.tables.cells import Cell, Table


@dataclass(frozen=True)
class Section:
    """A part of the report below the fold."""

    title: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    text: str = ""

    @property
    def anchor(self) -> str:
        """Where the contents list leads."""
        return re.sub(r"[^a-z]+", "-", self.title.lower())


def sections(
    results: Results, verdicts: Sequence[Verdict], found: Searched | None, folder: Path
) -> tuple[list[Section], Figure | None]:
    """Everything below the opening, and the opening picture: the claims, or without any the arms."""
    table, versus, best = summaries(results), against_reference(results), best_arm(results)
    opening = claim_figures.forest(results, verdicts, folder)
    differences = forest.differences(results, folder)
    hero = opening or differences or forest.scores(results, folder)

    def charts(*wanted: curves.Chart) -> list[Figure]:
        return _some(*(curves.draw(results, chart, folder) for chart in wanted))

    learning = curves.learning_charts(results.study.metric.name)
    applied = charts(curves.SCHEDULE, *([] if curves.is_plain(results) else [curves.APPLIED]))
    applied += charts(curves.TAKEN, curves.DEPTH)
    applied += _some(turns.schedule_map(results, folder), turns.turn_weight_map(results, folder))
    parts = [
        Section("Arms", [arms.scores(results, table, versus), _changes(results)], _some(opening and differences)),
        Section("The claims in numbers", [claims.in_numbers(list(verdicts))]),
        *(_search(results, found, folder) if found else []),
        Section("What was lost", lost_tables.tables(results), _some(lost.scatter(results, folder))),
        Section("Across settings", [conditions.breadth(methods(results), results)]),
        Section("Learning", figures=charts(learning[0])),
        Section("What was applied", figures=applied),
        Section("Teacher and reward", figures=charts(curves.GAP, curves.PULL, curves.PUSH)),
        Section("Turns", figures=_some(turns.endings(results, folder))),
        Section(
            "Factors",
            [conditions.interactions(interactions(results), results), conditions.main_effects(main_effects(results))],
            _some(factors.interaction(results, folder)),
        ),
        Section(
            "Other summaries",
            [conditions.summary(aggregate(results), results)],
            _some(factors.profile(results, folder)),
        ),
        Section(
            "Cost",
            [arms.costs(results, table), *_priced(results), arms.reaching(reach_teacher(results), results)],
            _some(cost.scatter(results, table, folder), *charts(*learning[1:])),
            _spent([t for t in (*results.trials, *results.explored) if t.is_trained]),
        ),
        _gaps(results),
        Section("The best arm", text=_selection(best)),
        Section("Conversations", conversations.of_arm(results, best.arm if best else None)),
    ]
    filled = [replace(s, tables=[t for t in s.tables if t.rows]) for s in parts]
    return [s for s in filled if s.text or s.tables or s.figures], hero


def _changes(results: Results) -> Table:
    """What the arms differ in, as the study defines them."""
    rows = [[Cell(arm), Cell(words)] for arm, words in changes(results).items()]
    return Table("What each arm changes of the base config.", ["arm", "changes"], rows, words=True)


def _search(results: Results, found: Searched, folder: Path) -> list[Section]:
    """What the search tried and chose, which parameters mattered, and the front of two objectives."""
    return [
        Section(
            "The search",
            [searches.optimism(found), searches.configurations(found)],
            text=f"{_tried(found)} {searches.quote(found)}".strip(),
        ),
        Section(
            "Sensitivity",
            searches.trends(found),
            _some(
                *(search.importance(f, folder, f"importance_{i}") for i, f in enumerate(found.importances, start=1)),
                search.slices(found, folder),
            ),
            " ".join(dict.fromkeys(f"{f.warning}." for f in found.importances if f.warning)),
        ),
        Section("Pareto front", figures=_some(search.front(found.front, folder) if found.front else None)),
    ]


def _tried(found: Searched) -> str:
    states = Counter(c.state for c in found.configurations)
    text = f"{plural(len(found.configurations), 'configuration')} × {found.over_seeds}: "
    text += ", ".join(f"{states[state]} {word}" for state, word in searches.ENDS.items() if states[state]) + "."
    kept = [c.optimism for c in found.chosen if not math.isnan(c.optimism)]
    if kept:
        best = plural(len(kept), "configuration")
        why = "the optimism of choosing the best of many"
        if found.on_fresh_tasks:
            why += ", and what fresh tasks and the last step alone change"
        text += (
            f" The best {best} ran again on fresh seeds, on which the rest of this report rests. The search had seen "
            f"them {number(math.fsum(kept) / len(kept), 3, signed=True)} better on average: {why}."
        )
    return text


def _spent(trials: list[Trial]) -> str:
    """What everything together took, and what of it came to nothing."""
    timed = [t for t in trials if not math.isnan(t.spent)]
    if not timed:
        return ""
    parts = [f"{duration(math.fsum(t.spent for t in timed))} one after another"]
    for key, what in (("env_steps", "environment steps"), ("teacher_tokens", "teacher tokens")):
        known = [t.cost[key] for t in trials if key in t.cost]
        unknown = f" in the {plural(len(known), 'trial')} that counted them" if len(known) < len(trials) else ""
        parts += [f"{count(math.fsum(known))} {what}{unknown}"] if known else []
    text = f"All {plural(len(trials), 'trial')} together: {', '.join(parts)}."
    lost = [t for t in timed if t.state != "COMPLETE"]
    if lost:
        wasted = duration(math.fsum(t.spent for t in lost))
        text += f" Of this, {wasted} went into {plural(len(lost), 'trial')} without a result."
    return text


def _priced(results: Results) -> list[Table]:
    given = results.study.latest.get("price")
    return [price.table(results, Price.model_validate(given))] if given else []


def _gaps(results: Results) -> Section:
    table, failed = arms.missing(results), searches.failures(results.explored)
    text = "" if table.rows or failed.rows else "Every cell of the design has a result."
    return Section("Failures and gaps", [table, failed], text=text)


def _some(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _selection(best: Best | None) -> str:
    if best is None:
        return "No arm has a result, so none is best."
    text = f"{best.arm} has the best mean: {estimate(best.interval, 3)} over {plural(best.interval.n, 'seed')}."
    if best.candidates > 1:
        text += f" It is the best of {best.candidates}, and the best of several looks better than it is."
        if not math.isnan(best.left_out):
            text += (
                " Chosen on all seeds but one and scored on the one left out, in turn, the best arm reaches "
                f"{number(best.left_out, 3)}."
            )
    if best.incomplete:
        text += " Every arm lacks some seeds: the choice is provisional."
    return text
