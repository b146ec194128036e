"""The report of a run: `report.md` and one self-contained `report.html`, from the run's files alone."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.searches import searched
from atod_sweep.evidence.analysis.text import fence, markdown_cell, plural
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.figures import style
from atod_sweep.evidence.figures.style import Figure
from atod_sweep.evidence.report import csv_files, pdf
from atod_sweep.evidence.report.cautions import warnings
from atod_sweep.evidence.report.facts import facts, study_file
from atod_sweep.evidence.report.glossary import terms
from atod_sweep.evidence.report.headline import headline
from atod_sweep.evidence.report.richer import refuse_poorer
from atod_sweep.evidence.report.sections import sections
from atod_sweep.records import layout
from atod_sweep.records.rows import write_whole


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


def write(
    run_dir: Path, numerics: int | None = None, formats: Sequence[str] = ("html", "md"), out: Path | None = None
) -> ReportPaths:
    """Build the report of `runs/<study>` inside it, or in `out`.

    UserError if the folder holds no run, or a report that is richer than what its files still tell.

    `numerics` is the version of today's trainer, where one is installed: a run made with another is marked stale.
    `formats` are some of `pdf.FORMATS`; a PDF needs Chromium.
    """
    pdf.check_formats(formats)
    results, folder = load(run_dir), out or run_dir
    refuse_poorer(results, folder)
    found, verdicts = searched(results), judge(results)
    with style.context():
        parts, hero = sections(results, verdicts, found, folder / layout.FIGURES)
    context = {
        "study": results.study,
        "headline": headline(results, verdicts, found),
        "terms": terms(results),
        "warnings": warnings(results, numerics),
        "hero": hero,
        "sections": parts,
        "facts": facts(results),
        "study_file": study_file(results),
        "trials": _trials(results),
    }
    tables = csv_files.write(results, folder / layout.TABLES, found)
    pictures = [figure for part in parts for figure in part.figures] + ([hero] if hero else [])
    return ReportPaths(
        documents={name: _document(name, context, folder) for name in dict.fromkeys(formats)},
        figures=tuple(path for figure in pictures for path in (figure.svg, figure.png)),
        tables=tables,
    )


def figures(results: Results, folder: Path) -> list[Figure]:
    """The figures of the report, drawn into `folder`; the opening picture first."""
    with style.context():
        parts, hero = sections(results, judge(results), searched(results), folder)
    return ([hero] if hero else []) + [figure for part in parts for figure in part.figures]


def _document(name: str, context: dict[str, Any], folder: Path) -> Path:
    path = folder / f"report.{name}"
    if name == "pdf":
        with tempfile.TemporaryDirectory() as scratch:
            page = Path(scratch) / "report.html"
            page.write_text(_template("report.html.j2").render(context), encoding="utf-8")
            pdf.print_page(page, path)
    else:
        write_whole(path, _template(f"report.{name}.j2").render(context))
    return path


def _trials(results: Results) -> str:
    phases = (results.trials, results.explored)
    done = [sum(t.state == "COMPLETE" and t.is_trained for t in trials) for trials in phases]
    text = plural(done[0], "complete trial")
    if not results.explored:
        return text
    if "search" in results.study.latest:
        return f"{text} on fresh seeds, {done[1]} in the search before"
    return f"{text}, and {done[1]} before on other seeds by which a control was chosen"


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("atod_sweep.evidence.report"),
        autoescape=name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["md"] = markdown_cell
    environment.filters["fence"] = fence
    return environment.get_template(name)


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figure.svg.read_bytes()).decode()
