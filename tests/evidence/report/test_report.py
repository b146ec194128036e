"""The report of ordinary and of awkward runs, from files alone."""

import csv
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ledger_files import read_ledger, write_ledger

from atod_sweep.evidence.analysis.comparisons import against_reference, summaries
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report import csv_files
from atod_sweep.evidence.report.cautions import warnings
from atod_sweep.evidence.report.write import write
from atod_sweep.evidence.tables import arms

MakeRun = Callable[..., Path]
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed in the wrong order, and collects sources, links and places to link to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name == "src"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.places += [f"#{value}" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(run: Path) -> tuple[str, str]:
    """Write the report; it must be well-formed, self-contained, and free of numbers gone wrong."""
    paths = write(run)
    html, markdown = paths.html.read_text(encoding="utf-8"), paths.markdown.read_text(encoding="utf-8")
    page = Balanced()
    page.feed(html)
    assert page.open == []
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert set(page.links) <= set(page.places)
    assert len(page.places) == len(set(page.places))
    for text in (re.sub(r"base64,[^\"]*", "", html), markdown):
        assert not re.search(r"\b(nan|None|inf)\b", text)
    pictures = re.findall(r"\]\((figures/[^)]+)\)", markdown)
    assert pictures or "No trial has a result" in markdown
    assert all((run / name).stat().st_size > 2000 for name in pictures)
    return html, markdown


def test_answers_come_before_tables(make_run: MakeRun) -> None:
    claim = {"arm": "cosine", "other": "linear"}
    run = make_run(
        "quick", {"cosine": 0.66, "linear": 0.6}, reference="linear", hypotheses=[claim], t_dur=True, steps=20
    )
    html, markdown = check(run)
    order = ["Does a cosine", "cosine is", "figures/claims.png", "cosine > linear:", "## Arms", "## Appendix"]
    places = [markdown.index(part) for part in order]
    assert places == sorted(places)
    assert "cosine &gt; linear" in html
    assert "torch 2.11.0" in markdown
    assert "base: presets/support_desk_compact" in markdown


def test_tables_hold_the_unrounded_numbers(make_run: MakeRun) -> None:
    run = make_run("quick", {"cosine": 0.66, "linear": 0.6}, reference="linear", factors={"h": {"s": 0, "l": -0.1}})
    paths = csv_files.write(load(run), run / "tables")
    assert {path.stem for path in paths} >= {"trials", "arms", "comparisons", "interactions", "main_effects", "curves"}
    with (run / "tables/comparisons.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    rows = read_ledger(run)
    done = [r for r in rows if r.get("state") == "COMPLETE" and r["levels"] == {"h": "s"}]
    final = {(r["arm"], r["seed"]): r["metrics"]["eval/success"] for r in done}
    mean = sum(final["cosine", s] - final["linear", s] for s in range(3)) / 3
    assert float(row["estimate"]) == pytest.approx(mean, rel=1e-12)
    assert (row["h"], row["n"], row["confidence"]) == ("s", "3", "0.95")


@pytest.mark.parametrize("factor", ["teacher", "arm", "seed", "n", "step", "metric"])
def test_a_factor_with_the_name_of_a_column_hides_none(make_run: MakeRun, factor: str) -> None:
    levels = {"factors": {factor: {"s": 0.0, "l": -0.1}}}
    run = make_run("quick", {"cosine": 0.66, "linear": 0.6}, reference="linear", **levels)
    named = csv_files.content(load(run))
    plain = csv_files.content(load(make_run("plain", {"cosine": 0.66, "linear": 0.6}, reference="linear")))
    for table in ("trials", "arms", "comparisons", "curves", "reaching_the_teacher"):
        columns = plain[table][0].keys()
        for row in named[table]:
            assert columns <= row.keys()
            assert row[f"level.{factor}" if factor in columns else factor] in ("s", "l")
            assert row["arm"] in ("cosine", "linear", "teacher", "base_student", "rl")


@pytest.mark.slow
def test_one_seed_one_arm(make_run: MakeRun) -> None:
    _, markdown = check(make_run("tiny", {"only": 0.5}, seeds=1, teacher=None))
    assert "One seed: there is no interval" in markdown
    assert "only reaches success" in markdown


def test_all_failed_with_names_that_look_like_markup(make_run: MakeRun) -> None:
    arms = {"余弦": 0.6, "<b>bold|pipe</b>": 0.5, "x" * 200: 0.4}
    failed = [(arm, s) for arm in arms for s in range(3)]
    question = "Lernt „余弦“ schneller als <script>alert(1)</script>?"
    claim = {"arm": "余弦", "other": "x" * 200}
    html, markdown = check(make_run("odd", arms, failed=failed, question=question, hypotheses=[claim]))
    assert "No trial has a result" in markdown
    assert "no seed in common" in markdown
    assert markdown.count("the loss is not a number") == 9
    assert "<script>alert" not in html
    assert "<b>bold" not in html
    assert "bold\\|pipe" in markdown


def test_missing_cells_are_marked_everywhere(make_run: MakeRun) -> None:
    results = load(make_run("gap", {"a": 0.6, "b": 0.5}, seeds=4, failed=[("a", 1)], reference="b"))
    table = arms.scores(results, summaries(results), against_reference(results))
    texts = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert texts["a"][1] == "3 of 4"
    assert texts["a"][4].endswith(" *")
    assert "1 of 8 cells have no result" in warnings(results)[0]
    assert [row[-1].text for row in arms.missing(results).rows] == [
        "DivergedError: the loss is not a number at step 30"
    ]


@pytest.mark.slow
def test_sixty_arms(make_run: MakeRun) -> None:
    arms = {f"arm_{i:02d}_with_a_rather_long_name_of_{i}": 0.4 + i / 300 for i in range(60)}
    _, markdown = check(make_run("wide", arms, seeds=2, steps=20))
    assert "52 further arms are grey" in markdown


@pytest.mark.slow
def test_unicode_and_long_names_in_figures(make_run: MakeRun) -> None:
    html, _ = check(make_run("odd", {"余弦": 0.6, "<b>bold|pipe</b>": 0.5, "x" * 200: 0.4}))
    assert "余弦" in html


@pytest.mark.slow
def test_the_same_run_gives_the_same_report(make_run: MakeRun) -> None:
    run = make_run("same", {"a": 0.6, "b": 0.5})
    assert check(run) == check(run)


@pytest.mark.usefixtures("blank_pictures")
def test_what_everything_cost_includes_what_came_to_nothing(make_run: MakeRun) -> None:
    run = make_run("spent", {"a": 0.6, "b": 0.5}, seeds=2, failed=[("a", 1)], teacher=None, steps=10, turns=6)
    rows = read_ledger(run)
    assert [r["seconds"] for r in rows if r.get("state") in ("COMPLETE", "FAILED")] == [50.0, 51.0, 50.0, 51.0]
    markdown = write(run, formats=["md"]).markdown.read_text(encoding="utf-8")
    # 3 trials of 10 steps and one of 5, of 64 episodes of 6 turns, 60 teacher tokens an episode.
    assert (
        "All 4 trials together: 3:22 min one after another, 13.4 k environment steps, 134 k teacher tokens." in markdown
    )
    assert "Of this, 51 s went into 1 trial without a result." in markdown


@pytest.mark.usefixtures("blank_pictures")
def test_a_retried_trial_costs_what_all_its_attempts_took(make_run: MakeRun) -> None:
    """b-s0 failed after 70 s, of which its checkpoint kept 30 s; the second attempt took 50 s from there."""
    run = make_run("retried", {"a": 0.6, "b": 0.5}, seeds=2, teacher=None, steps=10, turns=6)
    rows = read_ledger(run)
    rows = [row | {"cost": row["cost"] | {"seconds": row["seconds"]}} if row.get("cost") else row for row in rows]
    (done,) = [row for row in rows if row.get("trial") == "b-s0" and row["state"] == "COMPLETE"]
    failed = {**done, "state": "FAILED", "seconds": 70.0}
    done |= {"attempt": 2, "cost": done["cost"] | {"seconds": 80.0}}
    rows.insert(rows.index(done), failed)
    write_ledger(run, rows)
    markdown = write(run, formats=["md"]).markdown.read_text(encoding="utf-8")
    assert "All 4 trials together: 4:32 min one after another" in markdown  # 50 + 51 + 70 + 50 + 51
    b = next(line for line in markdown.split("## Cost")[1].splitlines() if line.startswith("| b "))
    assert b.split("|")[-2].strip() == "1:05 min"  # the mean of 80 and 51
