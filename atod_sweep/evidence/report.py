"""The report of a run: `report.md` and one self-contained `report.html`, from the run's files alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from atod_sweep.config.base import dump_yaml
from atod_sweep.evidence import csv_files, tables
from atod_sweep.evidence.aggregates import aggregate, interactions, main_effects
from atod_sweep.evidence.cautions import warnings
from atod_sweep.evidence.comparisons import Best, against_reference, best_arm, summaries
from atod_sweep.evidence.curves import reach_teacher
from atod_sweep.evidence.figures import curves, factors, forest, style, turns
from atod_sweep.evidence.figures.style import Figure
from atod_sweep.evidence.headline import answers
from atod_sweep.evidence.results import Results, load
from atod_sweep.evidence.tables import Table
from atod_sweep.evidence.text import estimate, number, plural
from atod_sweep.evidence.verdicts import judge


@dataclass(frozen=True)
class ReportPaths:
    """What `write` left behind."""

    html: Path
    markdown: Path
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]


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


def write(run_dir: Path, numerics: int | None = None) -> ReportPaths:
    """Build the report of `runs/<study>` inside it. UserError if the folder holds no run.

    `numerics` is the version of today's trainer, where one is installed: a run made with another is marked stale.
    """
    results = load(run_dir)
    with style.context():
        sections, hero = _sections(results, run_dir / "figures")
    context = {
        "study": results.study,
        "answers": answers(results),
        "warnings": warnings(results, numerics),
        "hero": hero,
        "sections": sections,
        "facts": _facts(results),
        "study_file": _study_file(results),
        "trials": plural(sum(t.state == "COMPLETE" and t.role != "teacher" for t in results.trials), "complete trial"),
    }
    markdown, html = run_dir / "report.md", run_dir / "report.html"
    markdown.write_text(_render("report.md.j2", context), encoding="utf-8")
    html.write_text(_render("report.html.j2", context), encoding="utf-8")
    pictures = [figure for section in sections for figure in section.figures] + ([hero] if hero else [])
    return ReportPaths(
        html=html,
        markdown=markdown,
        figures=tuple(path for figure in pictures for path in (figure.svg, figure.png)),
        tables=csv_files.write(results, run_dir / "tables"),
    )


def _sections(results: Results, folder: Path) -> tuple[list[Section], Figure | None]:
    """Everything below the fold, and the opening picture."""
    table, versus = summaries(results), against_reference(results)
    hero = forest.differences(results, versus, folder) or forest.scores(results, table, folder)

    def charts(*wanted: curves.Chart) -> list[Figure]:
        return _some(*(curves.draw(results, chart, folder) for chart in wanted))

    learning = curves.learning_charts(results.study.metric.name)
    sections = [
        Section("Arms", "", [tables.arms(results, table, versus)], []),
        Section("The claims in numbers", "", [tables.claims(judge(results))], []),
        Section("Learning", "", [], charts(learning[0])),
        Section(
            "What was applied",
            "",
            [],
            _some(
                *charts(curves.SCHEDULE, curves.APPLIED),
                turns.schedule_map(results, folder),
                turns.turn_weight_map(results, folder),
            ),
        ),
        Section("Teacher and reward", "", [], charts(curves.GAP, curves.PULL, curves.PUSH)),
        Section("Turns", "", [], _some(turns.endings(results, folder))),
        Section(
            "Factors",
            "",
            [tables.interactions(interactions(results), results), tables.main_effects(main_effects(results))],
            _some(factors.interaction(results, folder)),
        ),
        Section(
            "Other summaries",
            "",
            [tables.summary(aggregate(results), results)],
            _some(factors.profile(results, folder)),
        ),
        Section(
            "Cost",
            "",
            [tables.costs(results, table), tables.reaching(reach_teacher(results), results)],
            charts(*learning[1:]),
        ),
        _gaps(results),
        Section("The best arm", _selection(best_arm(results)), [], []),
    ]
    filled = [replace(s, tables=[t for t in s.tables if t.rows]) for s in sections]
    return [s for s in filled if s.text or s.tables or s.figures], hero


def _gaps(results: Results) -> Section:
    table = tables.missing(results)
    text = "" if table.rows else "Every cell of the design has a result."
    return Section("Failures and gaps", text, [table], [])


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
    commands = dict.fromkeys(" ".join([Path(r["argv"][0]).name, *r["argv"][1:]]) for r in results.study.rows)
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
    return facts + [Fact(f"{role.capitalize()} model", _model(ref)) for role, ref in row["models"].items() if ref]


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
        loader=jinja2.PackageLoader("atod_sweep.evidence"),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["md"] = _markdown_cell
    return environment.get_template(template).render(context)


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figure.svg.read_bytes()).decode()


def _markdown_cell(text: str) -> str:
    """Text that stays inside its table cell and is not read as markup."""
    for sign in "\\|*<`":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
