"""Two runs side by side: how they were made and what came out. Any number of runs: all their claims in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atod_sweep.config.files import flatten
from atod_sweep.evidence.analysis.claim_groups import word
from atod_sweep.evidence.analysis.comparisons import summarise
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Levels, Results, label
from atod_sweep.evidence.analysis.text import NOTHING, duration, estimate, limits, markdown_cell, number
from atod_sweep.evidence.analysis.verdicts import Verdict, judge
from atod_sweep.evidence.stats.procedures import STUDENT
from atod_sweep.evidence.tables.cells import Cell, Table

SETTINGS = ("numerics", "git", "versions", "hardware")


def tables(a: Results, b: Results) -> list[Table]:
    """Differences of the definitions, the arms' results, the verdicts; tables without rows are left out."""
    names = _names(a, b)
    return [table for table in (_made(a, b, names), _arms(a, b, names), _verdicts(a, b, names)) if table.rows]


def lines(run_a: Path, run_b: Path) -> list[str]:
    """The comparison as plain text, columns aligned. UserError if one of the folders holds no run."""
    found: list[str] = []
    for table in tables(load(run_a), load(run_b)):
        found += ["", table.caption, "", *plain(table)]
    return found[1:]


def plain(table: Table) -> list[str]:
    """A table as text, columns aligned."""
    cells = [table.header, *([cell.text for cell in row] for row in table.rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.header))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def text(folders: Sequence[Path], all_claims: bool, numerics: int | None = None) -> list[str]:
    """Two runs side by side; of another number of runs, or if `all_claims`, all claims in one table.

    Plain files among the folders are passed over, so that `studies/results/*` will do.
    """
    runs = [folder for folder in folders if not folder.is_file()]
    return lines(*runs) if len(runs) == 2 and not all_claims else claims(runs, numerics)


def claims(folders: Sequence[Path], numerics: int | None = None) -> list[str]:
    """Every claim of every run as one Markdown table. UserError if a folder holds no run.

    Runs made with another numerics version of the trainer than `numerics` are marked stale.
    """
    runs = [load(folder) for folder in folders]
    rows = [
        [
            r.study.name,
            v.claim,
            number(v.difference.estimate, 3, signed=True),
            f"{limits(v.difference, 3, signed=True)} {_kind(v)}".strip(),
            str(v.n),
            "; ".join([v.outcome, *(mark.split(":")[0] for mark in v.marks), *_stale(r, numerics)]),
        ]
        for r in runs
        for v in judge(r)
    ]
    table = ["| study | hypothesis | effect | 95 % interval | n | verdict |", "|---|---|---:|---:|---:|---|"]
    table += [f"| {' | '.join(markdown_cell(cell) or NOTHING for cell in row)} |" for row in rows]
    silent = [r.study.name for r in runs if not r.study.claims]
    return [*table, *(["", f"Without hypotheses: {', '.join(silent)}."] if silent else [])]


def _kind(verdict: Verdict) -> str:
    """What is unusual about its interval."""
    words = ["90 %"] if verdict.interval.level == 0.9 and verdict.n > 1 else []
    return ", ".join(words + (["anytime-valid"] if verdict.sequential else []))


def _stale(results: Results, numerics: int | None) -> list[str]:
    return [] if numerics is None or results.study.latest["numerics"] == numerics else ["stale"]


def _names(a: Results, b: Results) -> tuple[str, str]:
    """The studies' names, or their folders where the names are the same."""
    return (a.study.name, b.study.name) if a.study.name != b.study.name else (str(a.folder), str(b.folder))


def _made(a: Results, b: Results, names: tuple[str, str]) -> Table:
    sides = [
        flatten({**{k: v for k, v in r.study.latest.items() if k in SETTINGS}, "study": r.study.latest["definition"]})
        for r in (a, b)
    ]
    keys = [key for key in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(key) != sides[1].get(key)]
    rows = [[Cell(key.removeprefix("study.")), *(Cell(_short(side.get(key))) for side in sides)] for key in keys]
    return Table("What differs in how they were made.", ["setting", *names], rows)


def _short(value: object) -> str:
    text = NOTHING if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _arms(a: Results, b: Results, names: tuple[str, str]) -> Table:
    metrics = [r.study.metric.name.removeprefix("eval/") for r in (a, b)]
    cells = dict.fromkeys((arm, label(levels)) for r in (a, b) for levels in r.conditions for arm in r.arms)
    levels_of: dict[str, Levels] = {label(levels): levels for r in (a, b) for levels in r.conditions}
    rows = [_arm(a, b, arm, levels_of[where]) for arm, where in cells]
    what = " and ".join(dict.fromkeys(metrics))
    caption = f"Mean {what} with its 95 % interval over seeds, and the second minus the first on common seeds."
    header = [
        "arm",
        *(f"{name}: {kind}" for name, metric in zip(names, metrics, strict=True) for kind in ("seeds", metric)),
        "difference",
        "time per trial",
    ]
    return Table(caption, header, rows)


def _arm(a: Results, b: Results, arm: str, levels: Levels) -> list[Cell]:
    first, second = summarise(a, arm, levels), summarise(b, arm, levels)
    common = [seed for seed in first.scores if seed in second.scores]
    same_metric = a.study.metric == b.study.metric
    change = STUDENT.interval([second.scores[s] - first.scores[s] for s in common] if same_metric else [])
    where = label(levels)
    return [
        Cell(f"{arm} ({where})" if where else arm),
        *(cell for s in (first, second) for cell in (Cell(str(len(s.scores))), Cell(estimate(s.interval, 3)))),
        Cell(estimate(change, 3, signed=True)),
        Cell(f"{duration(first.seconds)} / {duration(second.seconds)}"),
    ]


def _verdicts(a: Results, b: Results, names: tuple[str, str]) -> Table:
    sides = [{v.claim: f"{word(v)} at n = {v.n}" for v in judge(r)} for r in (a, b)]
    claims = dict.fromkeys([*sides[0], *sides[1]])
    rows = [[Cell(claim), *(Cell(side.get(claim, NOTHING)) for side in sides)] for claim in claims]
    return Table("Verdicts.", ["claim", *names], rows)
