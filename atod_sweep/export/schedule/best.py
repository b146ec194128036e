"""Which arm of a study did best, told with its caveats, and the schedule that it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.comparisons import Comparison, compare, level_interval
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Levels, Missing, Results, Trial, label, matches
from atod_sweep.evidence.analysis.scores import seed_score, seeds_of_all
from atod_sweep.evidence.analysis.text import estimate
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.export.schedule import schedule_file
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.records import layout


@dataclass(frozen=True)
class BestSchedule:
    """The winning arm, what the choice rests on, and the config of its trials.

    `scores`: seed -> result, averaged over the conditions compared; `levels`: the condition whose config is exported.
    """

    arm: str
    at: Levels
    levels: Levels
    scores: dict[int, float]
    interval: Interval
    runner_up: Comparison | None
    tied: tuple[str, ...]
    left_out: tuple[Missing, ...]
    config: Train
    study: str
    trials: tuple[Trial, ...]

    @property
    def schedule(self) -> ScheduleFile:
        """The schedule that it ran. UserError for an objective that has none, such as sft."""
        return schedule_file.from_train(self.config, self.study, self.arm)

    def notes(self) -> list[str]:
        """What a reader must know about the choice, one sentence each."""
        found = []
        if self.tied:
            found.append(f"Tied with {', '.join(self.tied)}; the first in the study's order was taken.")
        rival = self.runner_up
        if rival is None:
            found.append(
                "No other arm had all its seeds, so this is the only candidate, not the winner of a comparison."
            )
        elif not rival.interval.excludes(0.0):
            found.append(
                f"Not separated from the runner-up {rival.other} at n = {rival.interval.n}: "
                f"paired difference {estimate(rival.interval, 3, signed=True)}."
            )
        for arm in dict.fromkeys(gap.arm for gap in self.left_out):
            gaps = [gap for gap in self.left_out if gap.arm == arm]
            cells = "; ".join(f"{_where(gap)} {gap.reason}" for gap in gaps)
            found.append(f"Arm {arm} was left out, because it lacks results: {cells}.")
        return found


def choose(results: Results, at: Mapping[str, str] | None = None) -> BestSchedule:
    """The arm (role "arm", never a control) with the best mean of the study's metric over seeds and conditions.

    Only arms with a result for every seed at every condition within `at` take part (seeds that were added for some arms
    alone do not count). The config exported is that of the
    longest horizon among those conditions. UserError if no arm is complete, or if the arm's schedule depends on a
    factor that `at` leaves open.
    """
    at = dict(at or {})
    _check_levels(results, at)
    metric = results.study.metric
    complete: dict[str, dict[int, float]] = {}
    left_out: list[Missing] = []
    seeds = seeds_of_all(results, at)
    for arm in results.study.arms:
        by_seed = {seed: seed_score(results, arm, at, seed, metric) for seed in seeds}
        scores = {seed: score for seed, score in by_seed.items() if isinstance(score, float)}
        if len(scores) == len(seeds):
            complete[arm] = scores
        left_out += [gap for gaps in by_seed.values() if isinstance(gaps, list) for gap in gaps]
    if not results.study.arms:
        raise UserError(f"{results.folder}: no configuration of the search completed, so none can be called best")
    if not complete:
        gap = left_out[0]
        raise UserError(
            f"{results.folder}: no arm has a result for every seed (arm {gap.arm}, {_where(gap)}: {gap.reason}), "
            "so none can be called best; finish the study with --resume"
        )
    means = {arm: sum(scores.values()) / len(scores) for arm, scores in complete.items()}
    order = sorted(means, key=lambda arm: -results.study.sign * means[arm])
    best = order[0]
    levels, trials, config = _exported(results, best, at)
    return BestSchedule(
        arm=best,
        at=at,
        levels=levels,
        scores=complete[best],
        interval=level_interval(results, best, at, complete[best]),
        runner_up=compare(results, best, order[1], at, metric) if len(order) > 1 else None,
        tied=tuple(arm for arm in order[1:] if means[arm] == means[best]),
        left_out=tuple(left_out),
        config=config,
        study=results.study.name,
        trials=trials,
    )


def _where(gap: Missing) -> str:
    return ", ".join(part for part in (f"seed {gap.seed}", label(gap.levels)) if part)


def _check_levels(results: Results, at: Levels) -> None:
    for factor, level in at.items():
        known = results.study.factors.get(factor, [])
        if level not in known:
            names = [f"{f}={v}" for f, levels in results.study.factors.items() for v in levels] or ["no factors"]
            raise UserError(f"{factor}={level}: not a level of this study; known: {', '.join(names)}")


def _exported(results: Results, arm: str, at: Levels) -> tuple[Levels, tuple[Trial, ...], Train]:
    """The condition whose config is exported: all must have the same schedule; the longest horizon is taken."""
    found = []
    for levels in (c for c in results.conditions if matches(c, at)):
        trials = tuple(results.of(arm, levels))
        path = trials[0].folder / layout.CONFIG
        if not trials[0].config:
            raise UserError(
                f"{path}: no such file, and without the trial's config there is nothing to export; export "
                "from the folder in which the run was made"
            )
        found.append((levels, trials, validate(Train, trials[0].config, str(path))))
    first_levels, _, first = found[0]
    for levels, _, config in found[1:]:
        if _schedule_of(config) != _schedule_of(first):
            raise UserError(
                f"arm {arm!r} ran different schedules at {label(first_levels)} and {label(levels)}; "
                f"choose one, for example --at {label(first_levels)}"
            )
    return max(found, key=lambda item: item[2].env.horizon)


def _schedule_of(config: Train) -> tuple[object, ...]:
    rollout = config.rollout
    return config.objective, rollout.temperature, rollout.takeover, rollout.depth, rollout.teacher_turns


def write_best(run_dir: Path, at: Mapping[str, str] | None = None) -> Path:
    """Write `best_schedule.yaml` into the run's folder and return its path."""
    results = load(run_dir)
    best = choose(results, at)
    where = f" at {label(best.levels)}" if best.levels else ""
    comments = [
        f"Best arm of {results.study.name} by mean {results.study.metric.name}: {best.arm}{where}, "
        f"{estimate(best.interval, 3)} over {best.interval.n} seeds.",
        *best.notes(),
        "Run it: atod-sweep train presets/NAME --schedule THIS_FILE",
    ]
    path = run_dir / layout.BEST_SCHEDULE
    path.write_text("".join(f"# {line}\n" for line in comments) + schedule_file.dump(best.schedule), encoding="utf-8")
    return path
