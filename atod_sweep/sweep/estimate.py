"""What a study or search would take, from a few timed training steps: nothing is recorded."""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train
from atod_sweep.sweep.models import ensure_models
from atod_sweep.sweep.preflight import check, fit, of_compact
from atod_sweep.sweep.record.progress import Progress
from atod_sweep.sweep.session import at_a_time
from atod_sweep.sweep.sharing import holdings
from atod_sweep.sweep.took import START_SECONDS, Took, before, in_words, keep, size_of, trial_seconds
from atod_sweep.sweep.trials.jobs import Row, Trainer, load
from atod_sweep.sweep.work import Options, Work

STEPS = 4  # timed training steps; the first one is left out: it warms caches
ASKED = ("teacher_read", "teacher_written", "teacher_money")  # of a trial's costs, what a teacher behind an API takes


@dataclass(frozen=True)
class Estimate:
    """Expected size of a run. `trial_seconds`, of wall-clock time, is the mean over trials."""

    trials: int
    at_a_time: int
    trial_seconds: float
    core_seconds: float
    env_steps: float
    tokens: float
    asked: Counter[str] = field(default_factory=Counter)
    """What a teacher behind an API reads, writes, and is paid."""

    def lines(self) -> list[str]:
        paid = f", {self.asked['teacher_money']:.3g} by teacher.price" if "teacher_money" in self.asked else ""
        read, written = (self.asked[f"teacher_{done}"] for done in ("read", "written"))
        teacher = f"the teacher reads {read:.3g} tokens and writes {written:.3g}{paid}; what it has said is kept"
        return [
            f"{in_words(self.trials, self.trial_seconds, self.at_a_time)} ({self.core_seconds / 3600:.1f} core-hours)",
            f"{self.env_steps:.3g} environment steps, {self.tokens:.3g} tokens",
            *([teacher] if read else []),
        ]


def estimate(work: Work, options: Options) -> Estimate:
    """Time a few steps of each environment and size in the work (models are built if they are not cached).

    Trials that differ in their objective only are taken to cost the same; a search that stops trials early costs less.
    """
    show, width = options.show or Progress(), at_a_time(work, options.site)
    if options.site.address is None:
        check(work.configs, work.resources, is_cluster=False)
        held = holdings(work.configs, work.resources, width, options.site)
        for line in fit(work.configs, work.resources, width, held):
            show.note(line)
    show.doing("building the teacher and the base student")
    models = ensure_models(work.configs, options.trainer, show)
    if options.site.address is None and options.trainer == Trainer():
        for line in of_compact(work.configs, work.resources, width, models):
            show.note(line)
    show.doing("timing a few steps")
    timed: dict[str, tuple[float, dict[str, float]]] = {}
    sizes = [size_of(config) for config in work.configs]
    for size, config in zip(sizes, work.configs, strict=True):
        if size not in timed:
            timed[size] = _timed(config, options)
            if options.trainer == Trainer() and before(size) is None:
                keep(size, Took(timed[size][0]))
    costs = [timed[size][1] for size in sizes]
    each = work.total / len(costs)  # a search knows its base config only
    trial_seconds = statistics.mean(timed[size][0] for size in sizes)
    return Estimate(
        trials=work.total,
        at_a_time=width,
        trial_seconds=trial_seconds,
        core_seconds=work.total * trial_seconds * work.resources.cpu,
        env_steps=each * sum(cost.get("env_steps", 0.0) for cost in costs),
        tokens=each * sum(cost.get("tokens", 0.0) for cost in costs),
        asked=Counter(
            {name: each * sum(c.get(name, 0.0) for c in costs) for name in ASKED if any(name in c for c in costs)}
        ),
    )


def _timed(config: dict[str, Any], options: Options) -> tuple[float, dict[str, float]]:
    """Expected seconds of one trial, and its costs by name."""
    rows: list[Row] = []
    evaluation = {key: value for key, value in config["evaluation"].items() if key != "final"}
    short = validate(Train, {**config, "steps": STEPS, "evaluation": {**evaluation, "every": STEPS}}, "config")
    with tempfile.TemporaryDirectory() as folder:
        result = load(options.trainer.train)(short, Path(folder), rows.extend, resume=False)
    costs = {name: value / STEPS * config["steps"] for name, value in result.cost.items()}
    return trial_seconds(config, rows) or START_SECONDS, costs
