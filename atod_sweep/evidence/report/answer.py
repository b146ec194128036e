"""What a run found, on half a page and in numbers: what MLflow and other loggers show of a study."""

from __future__ import annotations

import math
from pathlib import Path

from atod_sweep.evidence.analysis.claim_groups import word
from atod_sweep.evidence.analysis.comparisons import best_arm, summaries
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Results, label
from atod_sweep.evidence.analysis.searches import searched
from atod_sweep.evidence.analysis.text import markdown_cell
from atod_sweep.evidence.analysis.verdict import Verdict
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.report.headline import headline
from atod_sweep.evidence.report.summary import arm_table, header
from atod_sweep.records.answer import Answer


def answer(run_dir: Path) -> Answer:
    """From a run's files. `trials/complete` is always among the numbers. UserError if the folder holds no run."""
    results = load(run_dir)
    verdicts = judge(results)
    return Answer(_note(results, verdicts), _numbers(results), _words(results, verdicts))


def _numbers(results: Results) -> dict[str, float]:
    """Trials by how they ended; of the best arm its mean with its interval and its seeds; every arm's mean."""
    states = [trial.state for trial in (*results.trials, *results.explored)]
    found = {f"trials/{state.lower()}": float(states.count(state)) for state in ("COMPLETE", "PRUNED", "FAILED")}
    if best := best_arm(results):
        bounds = {"mean": best.interval.estimate, "low": best.interval.low, "high": best.interval.high}
        found |= {f"best/{name}": value for name, value in bounds.items() if not math.isinf(value)}
        found["best/n"] = float(best.interval.n)
    for s in summaries(results):
        if s.scores:
            found["/".join(filter(None, ["arm", s.arm, label(s.levels)]))] = s.interval.estimate
    return found


def _words(results: Results, verdicts: list[Verdict]) -> dict[str, str]:
    best = best_arm(results)
    return {
        "best_arm": best.arm if best else "",
        "verdicts": "; ".join(f"{verdict.claim}: {word(verdict)}" for verdict in verdicts),
        "seeds": str(len(results.seeds)),
    }


def _note(results: Results, verdicts: list[Verdict]) -> str:
    """The question, the answer, the table of arms and a line for every claim, as Markdown."""
    found = headline(results, verdicts, searched(results))
    cells = [header(results), *arm_table(results)]
    table = ["| " + " | ".join(map(markdown_cell, row)) + " |" for row in cells]
    table.insert(1, "|" + "---|" * len(cells[0]))
    claims = [f"- {verdict.line()}" for verdict in verdicts]
    parts = [results.study.question, f"**{found.lead}:** {found.answer}", "\n".join(table), "\n".join(claims)]
    return "\n\n".join(filter(None, parts)) + "\n"
