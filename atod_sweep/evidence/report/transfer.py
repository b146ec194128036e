"""The page of `analysis/transfer.py`, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.text import NOTHING, estimate, markdown_cell, number
from atod_sweep.evidence.analysis.transfer import Transfer, transfer

METHOD = """\
Seeds are paired: all arms of a size played the same. The regret is the best arm's mean minus the chosen one's, with the
limits of multiple comparisons with the best (95 % for all arms together, one spread for all of them); the chosen arm
holds where the upper limit is below the margin, and fails where the lower one is above it. Intervals of rank
correlations are of a paired bootstrap over seeds. All of them are about the tasks that were played: what other tasks
would do to the order of the arms is not in them."""


def page(runs: Sequence[Path], margin: float) -> list[str]:
    """Lines of Markdown: what the smallest size's choice is worth at every other. UserError if that cannot be asked."""
    found = transfer([load(folder) for folder in runs], margin)
    return [
        "# Does the best schedule of the smallest students stay good?",
        "",
        *_answer(found),
        "",
        *_steps(found),
        "",
        *_means(found),
        "",
        "## What cannot be judged",
        "",
        *(f"- {markdown_cell(limit)}" for limit in found.limits),
        "",
        "## How it is reckoned",
        "",
        METHOD,
    ]


def _answer(found: Transfer) -> list[str]:
    first, *later = found.steps
    lines = [f"At {first.size.name} parameters `{found.chosen}` is best of {len(first.size.arms)} schedules."]
    for step in later:
        lines.append(
            f"That it is within {found.margin:g} of the best at {step.size.name} is **{step.outcome}**: "
            f"its regret there is {estimate(step.regret, 3)}."
        )
    return [" ".join(lines)]


def _steps(found: Transfer) -> list[str]:
    head = ["size", "run", "seeds", "best here", "rank correlation with the size below", f"regret of {found.chosen}"]
    rows = [
        [
            step.size.name,
            step.size.results.study.name,
            str(len(step.size.seeds)),
            step.size.best,
            NOTHING if step.agreement is None else estimate(step.agreement),
            NOTHING if step.agreement is None else estimate(step.regret, 3),
            step.outcome,
        ]
        for step in found.steps
    ]
    return _table([*head, f"within {found.margin:g}"], rows)


def _means(found: Transfer) -> list[str]:
    sizes = [step.size for step in found.steps]
    rows = [
        [arm, *(number(size.results.study.sign * size.scores_AS[i].mean(), 3) for size in sizes)]
        for i, arm in enumerate(sizes[0].arms)
    ]
    return _table([f"{sizes[0].results.study.measure} of", *(size.name for size in sizes)], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(markdown_cell(cell) for cell in line)} |" for line in lines]
