"""How often do intervals hold the truth, and how often do verdicts err? Simulated on known laws; writes coverage.md.

    python -m benchmarks.coverage                            # an hour on one core
    python -m benchmarks.coverage --sets 200 --studies 200   # a rough look

Every row draws data sets of n seeds from a distribution whose true value is known, builds each interval, and counts
how often it holds that value. With 2,000 sets the count itself is uncertain by about one point (two at 50 %).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atod_sweep.evidence.stats.aggregate import IQM, MEAN, Statistic, linearised
from atod_sweep.evidence.stats.intervals import Array, Interval, t_interval
from atod_sweep.evidence.stats.procedures import SEQUENCE
from benchmarks.bootstrap import bca, draw, percentile, studentised
from benchmarks.false_verdicts import sections

SEEDS = (3, 5, 10, 20)
REPS = 1000
TASKS = np.array([0.0, 1.0, 2.0, 3.0])  # locations of four tasks, in standard deviations of a run's noise
OUT = Path(__file__).parent / "coverage.md"

Noise = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _collapse(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Most seeds learn, one in seven stays behind: what a training run that sometimes fails looks like."""
    behind = rng.random(shape) < 1 / 7
    return (rng.normal(0, 0.15, shape) - behind + 1 / 7) / np.sqrt(0.15**2 + 6 / 49)


# Laws of one run's noise, each with mean 0 and standard deviation 1.
NOISE: dict[str, Noise] = {
    "normal": lambda rng, shape: rng.normal(0, 1, shape),
    "bounded (Beta(2, 2))": lambda rng, shape: (rng.beta(2, 2, shape) - 0.5) * np.sqrt(20),
    "skewed (exponential)": lambda rng, shape: rng.exponential(1, shape) - 1,
    "skewed (1 in 7 seeds collapses)": _collapse,
}


@dataclass(frozen=True)
class Case:
    """A quantity that the report gives an interval for: data sets [seeds, tasks], their true value, the statistic."""

    name: str
    data: Callable[[Noise, np.random.Generator, int], Array]
    truth: Callable[[Noise], float]
    statistic: Statistic


def _one(noise: Noise, rng: np.random.Generator, n: int) -> Array:
    return noise(rng, (n, 1))


def _steady(rng: np.random.Generator, n: int) -> Array:
    """Noise of an arm that never surprises: normal, a third of the other's."""
    return rng.normal(0, 1 / 3, (n, 1))


def _paired(noise: Noise, rng: np.random.Generator, n: int) -> Array:
    """An arm with this noise minus a steady one; what the seed does to both has cancelled already."""
    return noise(rng, (n, 1)) - _steady(rng, n)


def _interaction(noise: Noise, rng: np.random.Generator, n: int) -> Array:
    """The same arm at the level where it has this noise, against a level where it is as steady as the other."""
    return _paired(noise, rng, n) - (_steady(rng, n) - _steady(rng, n))


def _tasks(noise: Noise, rng: np.random.Generator, n: int) -> Array:
    return TASKS + noise(rng, (n, len(TASKS)))


def _tasks_sharing_seeds(noise: Noise, rng: np.random.Generator, n: int) -> Array:
    """Half of a run's variance comes from its seed and is the same in all tasks."""
    return TASKS + (noise(rng, (n, len(TASKS))) + noise(rng, (n, 1))) / np.sqrt(2)


def _true_iqm(data: Callable[[Noise, np.random.Generator, int], Array]) -> Callable[[Noise], float]:
    """From a million runs and more: its error is a hundredth of the intervals'."""
    return lambda noise: IQM(data(noise, np.random.default_rng(0), 1_000_000))


CASES = (
    Case("mean", _one, lambda _: 0.0, MEAN),
    Case("paired difference", _paired, lambda _: 0.0, MEAN),
    Case("difference of differences", _interaction, lambda _: 0.0, MEAN),
    Case("IQM of one task", _one, _true_iqm(_one), IQM),
    Case("IQM over 4 tasks", _tasks, _true_iqm(_tasks), IQM),
    Case("IQM over 4 tasks that share seeds", _tasks_sharing_seeds, _true_iqm(_tasks_sharing_seeds), IQM),
)
COLUMNS = ("t", "percentile", "BCa", "studentised", "linearised t", "sequence", "t, 90 %")


def intervals(scores_ST: Array, statistic: Statistic, rng: np.random.Generator) -> dict[str, Interval]:
    """Every interval that applies to this statistic."""
    draws = draw(scores_ST, statistic, rng, REPS)
    found = {"percentile": percentile(draws), "BCa": bca(draws), "studentised": studentised(draws)}
    if statistic is MEAN:
        values_S = scores_ST[:, 0]
        found["t"], found["t, 90 %"] = t_interval(values_S), t_interval(values_S, 0.9)
        found["sequence"] = SEQUENCE.interval(values_S)
    else:
        found["linearised t"] = linearised(scores_ST, statistic)
    return found


def coverage(case: Case, noise: Noise, n: int, sets: int) -> dict[str, float]:
    """Percentage of data sets whose interval holds the truth, by method."""
    rng = np.random.default_rng(n)
    truth = case.truth(noise)
    held: dict[str, int] = {}
    for _ in range(sets):
        for name, interval in intervals(case.data(noise, rng, n), case.statistic, rng).items():
            held[name] = held.get(name, 0) + (not interval.excludes(truth))
    return {name: 100 * count / sets for name, count in held.items()}


def table(sets: int) -> Iterator[str]:
    """Markdown lines, as they are computed."""
    yield f"| quantity | runs are | n | {' | '.join(COLUMNS)} |"
    yield f"|---|---|---:|{'---:|' * len(COLUMNS)}"
    for case in CASES:
        for name, noise in NOISE.items():
            for n in SEEDS:
                found = coverage(case, noise, n, sets)
                cells = [f"{found[column]:.0f}" if column in found else "" for column in COLUMNS]
                yield f"| {case.name} | {name} | {n} | {' | '.join(cells)} |"


HEAD = """# How often the report's intervals hold the truth

Percent of {sets:,} simulated data sets whose interval holds the true value; 95 is asked for (90 in the last column, by
which equivalence is judged). Made by `python -m benchmarks.coverage`, {reps:,} resamples per bootstrap.

- **t** is what the report prints for means, paired differences and interactions. It covers 92 to 97 % on normal and
  bounded runs from three seeds on, and falls short on skewed ones; the report then says so. It fails just where the
  rare bad seed has not turned up yet: such a sample looks harmless, so the report judges skewness over all arms.
- **percentile** is the bootstrap interval common in the field: on few seeds it misses far more often than it says. Over
  several tasks it draws runs within tasks; where the tasks of one seed rise and fall together, more seeds are no cure.
- **studentised** resamples without spread make it infinite on three seeds, which is why it covers there.
- **sequence** is the anytime-valid interval of `run --until-decided`, at one fixed n: it is wider, because it holds at
  every n at once.
- **linearised t** (estimate ± t × standard error from each seed's influence) is what the report prints for the
  interquartile mean.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000, help="data sets per row of intervals")
    parser.add_argument("--studies", type=int, default=4000, help="simulated studies per row of verdicts")
    args = parser.parse_args()
    lines = []
    for line in itertools.chain(table(args.sets), sections(args.studies)):
        print(line, flush=True)
        lines.append(line)
    OUT.write_text(HEAD.format(sets=args.sets, reps=REPS) + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
