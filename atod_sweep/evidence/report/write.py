"""The report of a run: `report.md` and one self-contained `report.html`, from the run's files alone."""

from __future__ import annotations

import base64
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from atod_sweep.config.base import dump_yaml
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.aggregates import aggregate, interactions, main_effects
from atod_sweep.evidence.analysis.breadth import methods
from atod_sweep.evidence.analysis.comparisons import Best, against_reference, best_arm, summaries
from atod_sweep.evidence.analysis.curves import reach_teacher
from atod_sweep.evidence.analysis.results import Results, Trial, load
from atod_sweep.evidence.analysis.searches import Searched, searched
from atod_sweep.evidence.analysis.text import count, duration, estimate, markdown_cell, number, plural
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.figures import cost, curves, factors, forest, search, style, turns
from atod_sweep.evidence.figures.style import Figure
from atod_sweep.evidence.report import csv_files, pdf
from atod_sweep.evidence.report.cautions import warnings
from atod_sweep.evidence.report.headline import answers
from atod_sweep.evidence.report.richer import refuse_poorer
from atod_sweep.evidence.tables import arms, claims, conditions, searches
from atod_sweep.evidence.tables.cells import Table
from atod_sweep.records.redaction import redacted

FORMATS = ("html", "md", "pdf")


@dataclass(frozen=True)
class ReportPaths:
    """What `write` left behind; `documents` by format."""

    documents: dict[str, Path]
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]

    @property
    def html(self) -> Path:
        """The self-contained page."""
        return self.documents["html"]

    @property
    def markdown(self) -> Path:
        """The same as Markdown, with figures beside it."""
        return self.documents["md"]


@dataclass(frozen=True)
class Section:
    """A part of the report below the fold."""

    title: str
    text: str
    tables: list[Table]
    figures: list[Figure]


@dataclass(frozen=True)
class Fact:
    """One line of the appendix."""

    name: str
    value: str


def write(
    run_dir: Path, numerics: int | None = None, formats: Sequence[str] = ("html", "md"), out: Path | None = None
) -> ReportPaths:
    """Build the report of `runs/<study>` inside it, or in `out`.

    UserError if the folder holds no run, or a report that is richer than what its files still tell.

    `numerics` is the version of today's trainer, where one is installed: a run made with another is marked stale.
    `formats` are some of `FORMATS`; a PDF needs Chromium.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"--format {unknown[0]!r}: unknown; use {', '.join(FORMATS)}")
    if "pdf" in formats:
        pdf.browser()  # complain before anything is drawn
    results, folder = load(run_dir), out or run_dir
    refuse_poorer(results, folder)
    found = searched(results)
    with style.context():
        sections, hero = _sections(results, found, folder / "figures")
    context = {
        "study": results.study,
        "answers": answers(results),
        "warnings": warnings(results, numerics),
        "hero": hero,
        "sections": sections,
        "facts": _facts(results),
        "study_file": _study_file(results),
        "trials": _trials(results),
    }
    pictures = [figure for section in sections for figure in section.figures] + ([hero] if hero else [])
    return ReportPaths(
        documents={name: _document(name, context, folder) for name in dict.fromkeys(formats)},
        figures=tuple(path for figure in pictures for path in (figure.svg, figure.png)),
        tables=csv_files.write(results, folder / "tables", found),
    )


def figures(results: Results, folder: Path) -> list[Figure]:
    """The figures of the report, drawn into `folder`; the opening picture first."""
    with style.context():
        sections, hero = _sections(results, searched(results), folder)
    return ([hero] if hero else []) + [figure for section in sections for figure in section.figures]


def _document(name: str, context: dict[str, Any], folder: Path) -> Path:
    """Write report.NAME."""
    path = folder / f"report.{name}"
    if name == "pdf":
        with tempfile.TemporaryDirectory() as scratch:
            page = Path(scratch) / "report.html"
            page.write_text(_render("report.html.j2", context), encoding="utf-8")
            pdf.print_page(page, path)
    else:
        path.write_text(_render(f"report.{name}.j2", context), encoding="utf-8")
    return path


def _trials(results: Results) -> str:
    phases = (results.trials, results.explored)
    done = [sum(t.state == "COMPLETE" and t.is_trained for t in trials) for trials in phases]
    text = plural(done[0], "complete trial")
    return f"{text} on fresh seeds, {done[1]} in the search before" if results.explored else text


def _sections(results: Results, found: Searched | None, folder: Path) -> tuple[list[Section], Figure | None]:
    """Everything below the fold, and the opening picture."""
    table, versus = summaries(results), against_reference(results)
    hero = forest.differences(results, versus, folder) or forest.scores(results, table, folder)

    def charts(*wanted: curves.Chart) -> list[Figure]:
        return _some(*(curves.draw(results, chart, folder) for chart in wanted))

    learning = curves.learning_charts(results.study.metric.name)
    sections = [
        Section("Arms", "", [arms.scores(results, table, versus)], []),
        Section("The claims in numbers", "", [claims.in_numbers(judge(results))], []),
        *(_search(results, found, folder) if found else []),
        Section("Across settings", "", [conditions.breadth(methods(results), results)], []),
        Section("Learning", "", [], charts(learning[0])),
        Section(
            "What was applied",
            "",
            [],
            _some(
                *charts(curves.SCHEDULE, *([] if curves.is_plain(results) else [curves.APPLIED])),
                turns.schedule_map(results, folder),
                turns.turn_weight_map(results, folder),
            ),
        ),
        Section("Teacher and reward", "", [], charts(curves.GAP, curves.PULL, curves.PUSH)),
        Section("Turns", "", [], _some(turns.endings(results, folder))),
        Section(
            "Factors",
            "",
            [conditions.interactions(interactions(results), results), conditions.main_effects(main_effects(results))],
            _some(factors.interaction(results, folder)),
        ),
        Section(
            "Other summaries",
            "",
            [conditions.summary(aggregate(results), results)],
            _some(factors.profile(results, folder)),
        ),
        Section(
            "Cost",
            _spent([t for t in (*results.trials, *results.explored) if t.is_trained]),
            [arms.costs(results, table), arms.reaching(reach_teacher(results), results)],
            _some(cost.scatter(results, table, folder), *charts(*learning[1:])),
        ),
        _gaps(results),
        Section("The best arm", _selection(best_arm(results)), [], []),
    ]
    filled = [replace(s, tables=[t for t in s.tables if t.rows]) for s in sections]
    return [s for s in filled if s.text or s.tables or s.figures], hero


def _search(results: Results, found: Searched, folder: Path) -> list[Section]:
    """What the search tried and chose, which parameters mattered, and the front of two objectives."""
    return [
        Section(
            "The search",
            f"{_tried(found)} {searches.quote(found)}".strip(),
            [searches.optimism(found), searches.configurations(found)],
            [],
        ),
        Section(
            "Sensitivity",
            " ".join(dict.fromkeys(f"{f.warning}." for f in found.importances if f.warning)),
            searches.trends(found),
            _some(
                *(search.importance(f, folder, f"importance_{i}") for i, f in enumerate(found.importances, start=1)),
                search.slices(found, folder),
            ),
        ),
        Section("Pareto front", "", [], _some(search.front(found.front, folder) if found.front else None)),
    ]


def _tried(found: Searched) -> str:
    states = Counter(c.state for c in found.configurations)
    text = f"{plural(len(found.configurations), 'configuration')} × {plural(found.seeds, 'seed')}: "
    text += ", ".join(f"{states[state]} {word}" for state, word in searches.ENDS.items() if states[state]) + "."
    kept = [c.optimism for c in found.chosen if not math.isnan(c.optimism)]
    if kept:
        best = plural(len(kept), "configuration")
        text += (
            f" The best {best} ran again on fresh seeds, on which the rest of this report rests. The search had seen "
            f"them {number(math.fsum(kept) / len(kept), 3, signed=True)} better on average: the optimism of choosing "
            "the best of many."
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


def _gaps(results: Results) -> Section:
    table, failed = arms.missing(results), searches.failures(results.explored)
    text = "" if table.rows or failed.rows else "Every cell of the design has a result."
    return Section("Failures and gaps", text, [table, failed], [])


def _some(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _selection(best: Best | None) -> str:
    if best is None:
        return "No arm has a result, so none is best."
    text = f"{best.arm} has the best mean: {estimate(best.interval, 3)} over {plural(best.interval.n, 'seed')}."
    if best.candidates > 1:
        text += f" It is the best of {best.candidates}, and the best of several looks better than it is."
        if best.interval.n > 1:
            text += (
                " Chosen on all seeds but one and scored on the one left out, in turn, the best arm reaches "
                f"{number(best.left_out, 3)}."
            )
    if best.incomplete:
        text += " Every arm lacks some seeds: the choice is provisional."
    return text


def _facts(results: Results) -> list[Fact]:
    row = results.study.latest
    hardware = row["hardware"]
    memory = f"{hardware['memory_gb']:g} GB memory"
    machine = [hardware["cpu"], plural(hardware["cores"], "core"), memory, f"GPU: {hardware['gpu'] or 'none'}"]
    commands = dict.fromkeys(redacted(" ".join([Path(r["argv"][0]).name, *r["argv"][1:]])) for r in results.study.rows)
    started = datetime.fromtimestamp(results.study.rows[0]["time"], UTC)
    facts = [
        Fact("Seeds", ", ".join(map(str, results.seeds))),
        Fact("Started", f"{started:%Y-%m-%d %H:%M} UTC"),
        Fact("Command", "; ".join(commands)),
        Fact("Hardware", ", ".join(machine)),
        Fact("Versions", ", ".join(f"{name} {version}" for name, version in row["versions"].items())),
        Fact("Numerics version", str(row["numerics"])),
        Fact("Code", f"git {row['git']}" if row["git"] else "not from a git checkout"),
        Fact("Definition", row["definition_hash"]),
    ]
    pairs = list(row.get("pairs", {}).values()) or [row["models"]]
    told = {role: list(dict.fromkeys(_model(pair[role]) for pair in pairs if pair[role])) for role in row["models"]}
    return facts + [Fact(f"{role.capitalize()} model", "; ".join(refs)) for role, refs in told.items() if refs]


def _model(ref: dict[str, Any]) -> str:
    success = ref.get("success")
    return f"digest {ref['digest']}" + ("" if success is None else f", success {number(success, 3)}")


def _study_file(results: Results) -> str:
    for name in ("study.yaml", "search.yaml"):
        if (results.folder / name).is_file():
            return (results.folder / name).read_text(encoding="utf-8")
    return dump_yaml(results.study.latest["definition"])


def _render(template: str, context: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("atod_sweep.evidence.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["md"] = markdown_cell
    return environment.get_template(template).render(context)


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figure.svg.read_bytes()).decode()
