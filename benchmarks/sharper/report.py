"""From recorded scores to what each idea saves, and how near the goal comes; writes benchmarks/sharper.md.

Shapes: _A arms, _S seeds, _P parts of PART tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from atod_sweep.evidence.stats.intervals import Array, Interval, t_interval
from atod_sweep.evidence.stats.power import variance_removed
from atod_sweep.sweep.studies.until_decided import Rule
from benchmarks.sharper import open_claims
from benchmarks.sharper.play import ARMS, FEWER, PART, SETS, TASKS
from benchmarks.sharper.scores import Score

OUT = Path(__file__).parents[1] / "sharper.md"
TODAY = 512  # tasks by which the studies so far were judged
MONEY, GOAL = 4 * 3600, 0.01  # seconds of a core, and the half width that they should buy
KEPT = "\n## What is kept\n"  # begins what a person wrote, which a new run leaves as it is
EVERY = 50  # steps from one evaluation on TODAY tasks to the next


@dataclass(frozen=True)
class Parts:
    """Variances of a paired difference on PART tasks: between seeds, between tasks (alike for all seeds), the rest."""

    seed: float
    tasks: float
    rest: float

    def of_a_seed(self, tasks: int) -> float:
        """What more seeds wear down, of one seed's difference on so many tasks."""
        return self.seed + self.rest * PART / tasks

    def half_width(self, seeds: int, tasks: int) -> float:
        """Of the 95 % interval of the mean difference, tasks that were drawn once for all seeds included."""
        spread = math.sqrt(self.of_a_seed(tasks) / seeds + self.tasks * PART / tasks)
        return float(stats.t.ppf(0.975, seeds - 1)) * spread


def split(difference_SP: Array) -> Parts:
    """The three variances, from the mean squares of two crossed factors; 0 where one would come out below."""
    seeds, parts = difference_SP.shape
    mean_S, mean_P = difference_SP.mean(axis=1), difference_SP.mean(axis=0)
    left_SP = difference_SP - mean_S[:, None] - mean_P + difference_SP.mean()
    rest = float((left_SP**2).sum() / ((seeds - 1) * (parts - 1)))
    return Parts(
        max(0.0, float(mean_S.var(ddof=1)) - rest / parts), max(0.0, float(mean_P.var(ddof=1)) - rest / seeds), rest
    )


def jackknifed(ratio: Callable[[list[int]], float], seeds: int) -> Interval:
    """A ratio with its interval: Student's over the jackknife's values of its logarithm. `ratio`: of seeds by index."""
    every = list(range(seeds))
    whole = math.log(ratio(every))
    without = [math.log(ratio([s for s in every if s != left])) for left in every]
    spread = t_interval([seeds * whole - (seeds - 1) * one for one in without]).half_width
    return Interval(math.exp(whole), math.exp(whole - spread), math.exp(whole + spread), seeds)


def variance_ratio(x_S: Array, y_S: Array) -> Interval:
    """var(x) / var(y) of values that go in pairs, with the interval of Pitman and of Morgan (1939)."""
    n, ratio = len(x_S), float(x_S.var(ddof=1) / y_S.var(ddof=1))
    unlike = 1 - float(np.corrcoef(x_S, y_S)[0, 1]) ** 2
    k = 1 + 2 * unlike * float(stats.t.ppf(0.975, n - 2)) ** 2 / (n - 2)
    reach = k + math.sqrt(k**2 - 1)
    return Interval(ratio, ratio / reach, ratio * reach, n)


class Recorded:
    """The scores at one number of steps."""

    def __init__(self, scores: Sequence[Score], steps: int) -> None:
        self._scores = [s for s in scores if s.steps == steps]
        drawn = [s for s in self._scores if s.noise == "drawn" and (s.student, s.evaluation) == ("last", "stream")]
        self.steps, self.seeds = steps, self.table_ASP("last").shape[1]
        self.training = float(np.mean([s.training_seconds for s in drawn]))
        self.evaluation = float(np.mean([s.evaluation_seconds / SETS for s in drawn]))

    def table_ASP(self, student: str, evaluation: str = "stream", noise: str = "drawn") -> Array:
        """Success of both arms on the seeds that both have."""
        which = (noise, student, evaluation)
        found = {(s.arm, s.seed): s.success for s in self._scores if (s.noise, s.student, s.evaluation) == which}
        seeds = sorted({seed for _, seed in found if all((arm, seed) in found for arm in ARMS)})
        return np.array([[found[arm, seed] for seed in seeds] for arm in ARMS])

    def price(self, tasks: int) -> float:
        """Seconds of a trial that ends with so many tasks, evaluations on the way included."""
        return self.training + self.evaluation * (self.steps / EVERY + tasks / TASKS)


def cosine_minus_linear(table_ASP: Array) -> Array:
    """The difference by seed and part."""
    by_arm: dict[str, Array] = dict(zip(ARMS, table_ASP, strict=True))
    return by_arm["cosine"] - by_arm["linear"]


# ---- the ideas: variance x seconds with and without, as a ratio ------------------------------------------------------


def more_tasks(r: Recorded, tasks: int) -> Interval:
    """So many final tasks in the place of TODAY's."""
    difference_SP = cosine_minus_linear(r.table_ASP("last"))

    def ratio(seeds: list[int]) -> float:
        parts = split(difference_SP[seeds])
        return parts.of_a_seed(tasks) * r.price(tasks) / (parts.of_a_seed(TODAY) * r.price(TODAY))

    return jackknifed(ratio, r.seeds)


def other_students(r: Recorded, students: Sequence[str]) -> tuple[Interval, float, float]:
    """The mean of these students in the place of the last, on the same tasks; by how much higher it ends; and its own
    mean difference."""
    parts = FEWER * TASKS // PART
    mean_ASP = np.mean([r.table_ASP(student)[..., :parts] for student in students], axis=0)
    last_ASP = r.table_ASP("last")[..., :parts]
    ours_S, last_S = (cosine_minus_linear(table).mean(axis=-1) for table in (mean_ASP, last_ASP))
    price = r.price(FEWER * TASKS * len(students)) / r.price(FEWER * TASKS)
    ratio = variance_ratio(ours_S, last_S)
    times_price = Interval(ratio.estimate * price, ratio.low * price, ratio.high * price, r.seeds)
    return times_price, float(mean_ASP.mean() - last_ASP.mean()), float(ours_S.mean())


def other_noise(r: Recorded, evaluation: str, tasks: int) -> Interval:
    """The last students evaluated on so many tasks with other random numbers than `evaluation.final`'s."""
    parts = FEWER * TASKS // PART
    ours_SP, usual_SP = (cosine_minus_linear(r.table_ASP("last", e)[..., :parts]) for e in (evaluation, "stream"))
    return jackknifed(lambda s: split(ours_SP[s]).of_a_seed(tasks) / split(usual_SP[s]).of_a_seed(tasks), r.seeds)


def keyed_training(r: Recorded) -> tuple[Interval, list[float]]:
    """Common random numbers in training: the ratio with Fisher's F interval; what pairing removes without and with."""
    tables = [r.table_ASP("last", noise=noise).mean(axis=-1) for noise in ("drawn", "keyed")]
    seeds = [table.shape[1] for table in tables]
    drawn, keyed = (float((t[1] - t[0]).var(ddof=1)) for t in tables)
    low, high = (keyed / drawn * float(stats.f.ppf(q, seeds[0] - 1, seeds[1] - 1)) for q in (0.025, 0.975))
    return Interval(keyed / drawn, low, high, min(seeds)), [variance_removed(t[0], t[1]) for t in tables]


# ---- the document ----------------------------------------------------------------------------------------------------

HEAD = """# Sharper for the same money?

`python -m benchmarks.sharper` from `sharper/scores.csv`; the trials were made by `--train`, on one CPU core. Cosine and
linear on the long horizon of `studies/cosine_vs_linear.yaml` (14 turns), with numerics version 5: {made}.

What counts is the variance of the paired difference x processor seconds of a trial: an idea that takes a quarter off
buys the same interval for three quarters of the money, and makes the interval of the same money 13 % shorter. *Saves*:
money for the same interval, with a 95 % interval: of averaged students Pitman's and Morgan's for variances that go in
pairs, else Student's over the jackknife of seeds. Few seeds, so they are wide. An idea is kept if it saves 10 %.

Variance is told apart by seeds (16 parts of 256 tasks each): what a seed's two trainings make of it, the tasks, which
are the same for all seeds, and the rest, which is the answers' and the tasks' part in one seed's difference.

| steps | seeds | training, s | 512 tasks, s | sd: seeds | sd: rest, 512 tasks | sd: tasks, 512 | half width, 10 seeds |
|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def saved(ratio: Interval) -> str:
    """`23 % [5, 38]`."""
    return f"{100 * (1 - ratio.estimate):.0f} % [{100 * (1 - ratio.high):.0f}, {100 * (1 - ratio.low):.0f}]"


def document(scores: Sequence[Score]) -> str:
    """The whole of benchmarks/sharper.md but for its conclusions, which a person wrote."""
    runs = [r for steps in sorted({s.steps for s in scores}) if (r := Recorded(scores, steps)).seeds > 2]
    made = ", ".join(f"{r.seeds} seeds of {r.steps} steps" for r in runs)
    parts = [_ideas(runs), _keyed(runs), _open_claims(), _goal(runs, Recorded(scores, 600))]
    return "".join([HEAD.format(made=made), *map(_variances, runs), *parts])


def _variances(r: Recorded) -> str:
    parts = split(cosine_minus_linear(r.table_ASP("last")))
    half = PART / TODAY
    cells = [math.sqrt(x) for x in (parts.seed, parts.rest * half, parts.tasks * half)]
    told = " | ".join(f"{x:.4f}" for x in [*cells, parts.half_width(10, TODAY)])
    return f"| {r.steps} | {r.seeds} | {r.training:.0f} | {r.evaluation:.2f} | {told} |\n"


def _ideas(runs: Sequence[Recorded]) -> str:
    rows: list[tuple[str, list[str]]] = [
        (f"{tasks:,} final tasks in the place of 512", [saved(more_tasks(r, tasks)) for r in runs])
        for tasks in (1024, 2048, 4096)
    ]
    earlier = ["last", "25 before", "50 before", "100 before"]
    for n in (2, 3, 4):
        name = f"mean of the last student and those {', '.join(e.split()[0] for e in earlier[1:n])} steps before"
        rows.append((name, [_student(r, earlier[:n]) for r in runs]))
    for student, name in (
        ("average 0.95", "weights averaged exponentially (0.95 a step)"),
        ("mean of 20", "weights averaged over the last 20 steps"),
        ("mean of 100", "weights averaged over the last 100 steps"),
    ):
        rows.append((name, [_student(r, [student]) for r in runs]))
    for noise, name in (
        ("own", "answers drawn apart for each trial"),
        ("keyed", "answers drawn by (task, turn, token), the same for all"),
        ("greedy", "the likeliest answers"),
    ):
        for tasks in (TODAY, SETS * TASKS):
            rows.append((f"{name}, {tasks:,} tasks", [saved(other_noise(r, noise, tasks)) for r in runs]))
    head = " | ".join(f"saves, {r.steps} steps" for r in runs)
    lines = [f"| {name} | {' | '.join(cells)} |\n" for name, cells in rows]
    return f"\n## At the end of a trial\n\n{ENDS}\n| idea | {head} |\n|---|{'---|' * len(runs)}\n{''.join(lines)}"


def _student(r: Recorded, students: Sequence[str]) -> str:
    ratio, higher, difference = other_students(r, students)
    return f"{saved(ratio)}; ends {higher:+.3f}, differs {difference:+.3f}"


ENDS = """Other students and averaged weights are compared on 2,048 tasks; *ends* says by how much higher their success
is, and *differs* what cosine − linear is among them: a smaller variance of a smaller difference is no gain. Below 0:
the idea costs. `evaluation.final` draws from one stream, with the same tasks and numbers for whoever plays, which falls
out of step where episodes end at different turns.
"""


def _keyed(runs: Sequence[Recorded]) -> str:
    lines = []
    for r in runs:
        if r.table_ASP("last", noise="keyed").shape[-2] < 3:
            continue
        ratio, pairing = keyed_training(r)
        lines.append(
            f"| {r.steps} | {ratio.n} | {' | '.join(f'{100 * x:.0f} %' for x in pairing)} | {saved(ratio)} |\n"
        )
    return f"""
## Common random numbers in training

Rollouts drawn by (seed, step, episode, turn, token) in the place of one stream per seed, so that two arms draw alike
for as long as they resemble each other. *Pairing removes*: the share of the variance that common seeds take away.
Interval: Fisher's F.

| steps | seeds | pairing removes, one stream | pairing removes, keyed | saves |
|---:|---:|---:|---:|---|
{"".join(lines)}"""


def _open_claims() -> str:
    lines = []
    for study in open_claims.studies():
        r = open_claims.replay(study, 500, Rule())
        trials = f"{r.everything:.0f} | {r.open:.0f}"
        lines.append(f"| {study} | {r.claims} | {trials} | {100 * (1 - r.open / r.everything):.0f} % |\n")
    return f"""
## Seeds for the claims that are open

`run --until-decided`, 5 seeds at a time to 40, replayed 500 times with seeds of the recorded studies, drawn with
replacement: trials if all arms run until the last claim is decided, and if arms of decided claims rest.

| study | claims | trials, all arms | trials, arms of open claims | saves |
|---|---:|---:|---:|---:|
{"".join(lines)}"""


def _goal(runs: Sequence[Recorded], long: Recorded) -> str:
    lines = []
    for r in runs:
        parts = split(cosine_minus_linear(r.table_ASP("last")))
        chance = [math.sqrt((r.seeds - 1) / float(stats.chi2.ppf(q, r.seeds - 1))) for q in (0.975, 0.025)]
        for tasks in (TODAY, 2048, 4096):
            price = long.price(tasks)
            seeds = int(MONEY / (2 * price))
            half = parts.half_width(seeds, tasks)
            reach = " to ".join(f"{half * x:.4f}" for x in chance)
            lines.append(f"| {r.steps} | {tasks:,} | {price:.0f} | {seeds} | {half:.4f} | {reach} |\n")
    return f"""
## ±{GOAL:g} on cosine − linear within 4 core-hours

**An extrapolation**: the half width that the variances above would give with as many seeds as 4 core-hours pay for, at
the seconds of trials of 600 steps ({long.training:.0f} s of training, measured on {2 * long.seeds} of them). Models are
built once, and not counted. The range is that of the variance between so few seeds (χ²). Tasks that were drawn once for
all seeds are in it.

| variances from steps | final tasks | s a trial | seeds | half width | range |
|---:|---:|---:|---:|---:|---:|
{"".join(lines)}"""
