"""How often does an interval hold the truth when results depend on which tasks were drawn? Writes task_sets.md.

    python benchmarks/task_sets.py            # 20,000 data sets per row; a minute on one core

First table: seeds and task sets are crossed random effects, as where students and a teacher play several final sets.
Second: one set of tasks alone, each task easier or harder for everybody and for either side, outcomes 0 or 1.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

from atod_sweep.evidence.stats.intervals import Array

OUT = Path(__file__).parent / "task_sets.md"
LAYOUTS = ((3, 4), (3, 8), (5, 4), (5, 8), (10, 2), (10, 4), (10, 8), (20, 8), (10, 16))  # seeds, task sets
# Standard deviations over seeds and over sets; what is left of a score on 512 tasks is 0.02. The second row is what was
# measured of a student's distance to its teacher, the third what was measured of a teacher.
SPREADS = ((0.03, 0.0), (0.025, 0.017), (0.01, 0.022), (0.025, 0.05))
REST = 0.02


def held(scores_RST: Array) -> tuple[float, float, float]:
    """Percent of data sets with true mean 0 whose interval holds it: over seeds alone, over both; and its width's gain.

    The formulas of `Procedure.over_tasks`, for all data sets at once (a test holds them equal).
    """
    _, s, t = scores_RST.shape
    seeds_R = scores_RST.mean(2).std(1, ddof=1) / math.sqrt(s) * stats.t.ppf(0.975, s - 1)
    sets_R = scores_RST.mean(1).std(1, ddof=1) / math.sqrt(t) * stats.t.ppf(0.975, t - 1)
    both_R, away_R = np.hypot(seeds_R, sets_R), np.abs(scores_RST.mean((1, 2)))
    widened = float(np.median(both_R) / np.median(seeds_R))
    return 100 * float((away_R <= seeds_R).mean()), 100 * float((away_R <= both_R).mean()), widened


def crossed(runs: int) -> Iterator[str]:
    """Markdown lines of the first table."""
    yield "| seeds | task sets | sd over seeds | sd over sets | seeds alone | seeds and sets | times as wide |"
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    for s, t in LAYOUTS:
        for sd_seeds, sd_sets in SPREADS:
            rng = np.random.default_rng([s, t])
            scores_RST = rng.normal(0, sd_seeds, (runs, s, 1)) + rng.normal(0, 1, (runs, 1, t)) * sd_sets
            alone, both, width = held(scores_RST + rng.normal(0, REST, (runs, s, t)))
            yield f"| {s} | {t} | {sd_seeds} | {sd_sets} | {alone:.1f} | {both:.1f} | {width:.1f} |"


def one_set(runs: int) -> Iterator[str]:
    """Markdown lines of the second table: students minus their teacher, and a student's own level."""
    names = ("minus teacher: seeds alone", "with the bound", "level: seeds alone", "with the bound")
    yield f"| seeds | students | teacher | shared difficulty | {' | '.join(names)} |"
    yield f"|{'---:|' * 8}"
    for s in (5, 10):
        for p, q in ((0.84, 0.63), (0.45, 0.63)):
            for shared in (0.0, 1.0):
                rng = np.random.default_rng([s, int(100 * p), int(shared)])
                found = np.array([_one(rng, s, p, q, shared) for _ in range(runs // 20)])
                yield f"| {s} | {p} | {q} | {shared:g} | {' | '.join(f'{100 * x:.1f}' for x in found.mean(axis=0))} |"


def _one(rng: np.random.Generator, s: int, p: float, q: float, shared: float, tasks: int = 512) -> list[bool]:
    """Whether each of four intervals holds the truth. `shared`: sd of a task's difficulty for all models, in logits."""
    everyone_K, own_2K = rng.normal(0, 1, tasks) * shared, rng.normal(0, 1.5, (2, tasks))
    students_K, teacher_K = (_shares(mean, everyone_K + own_K) for mean, own_K in zip((p, q), own_2K, strict=True))
    level_S = (rng.random((s, tasks)) < students_K).mean(axis=1) + rng.normal(0, 0.02, s)
    teacher = float((rng.random(tasks) < teacher_K).mean())
    seeds = float(stats.t.ppf(0.975, s - 1)) * float(level_S.std(ddof=1)) / math.sqrt(s)
    found = []
    for away, variance in (
        (level_S.mean() - teacher - (p - q), p * (1 - p) + q * (1 - q)),
        (level_S.mean() - p, p * (1 - p)),
    ):
        found += [abs(away) <= seeds, abs(away) <= math.hypot(seeds, 1.959964 * math.sqrt(variance / tasks))]
    return found


def _shares(mean: float, logit_K: Array) -> Array:
    """Chances of success per task whose mean over infinitely many tasks is `mean`."""
    spread = math.sqrt(float(np.var(logit_K)))
    low, high = -12.0, 12.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    while high - low > 1e-6:
        middle = (low + high) / 2
        value = float((weights / (1 + np.exp(-(middle + spread * nodes)))).sum() / weights.sum())
        low, high = (middle, high) if value < mean else (low, middle)
    return 1 / (1 + np.exp(-(low + logit_K)))


HEAD = """# Intervals of results that depend on the tasks drawn

Percent of {runs:,} simulated data sets whose 95 % interval holds the true value, with the tasks drawn anew for each.
Made by `python benchmarks/task_sets.py`.

Several final sets (`evaluation.final`), normal effects: an interval over **seeds alone** is honest only as long as the
task sets hardly differ; **seeds and sets** is what reports print. From two sets it says nothing any more (5 to 15 times
as wide), which is why `evaluation.final.sets` begins at four.

"""
MIDDLE = """
One set of 512 tasks, as in studies without `evaluation.final`. Each task has its own chance of success for students and
for the teacher, partly shared by both; `with the bound` adds the largest error that tasks can cause, which is what
reports print for differences to a teacher and for levels.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="data sets per row of the first table")
    runs = parser.parse_args().runs
    parts = [HEAD.format(runs=runs), *(f"{line}\n" for line in crossed(runs))]
    parts += [MIDDLE, *(f"{line}\n" for line in one_set(runs))]
    OUT.write_text("".join(parts), encoding="utf-8")
    print("".join(parts))


if __name__ == "__main__":
    main()
