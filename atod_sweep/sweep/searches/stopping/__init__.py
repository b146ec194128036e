"""Rules that end trials early, on environment steps and among trials of the same seed: one file each, and their table.

A rule never stops a trial before its grace step: annealed schedules that decay fast look worse early and better late.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter

from atod_sweep.config.kinds import one_each
from atod_sweep.config.schedules import Schedule
from atod_sweep.config.search import EarlyStopping, Objective, Stopping
from atod_sweep.sweep.searches.stopping.asha import asha
from atod_sweep.sweep.searches.stopping.evaluations import Evaluations
from atod_sweep.sweep.searches.stopping.median import median
from atod_sweep.sweep.trials.jobs import Row

# From a rule's config, a trial beyond its grace step, that step, the trial's metric now (large is good), and that of
# its peers at as many environment steps: whether it should end.
RULES: dict[str, Callable[..., bool] | None] = one_each(Stopping, {"none": None, "median": median, "asha": asha})

_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(Schedule)


class StoppingRule:
    """Keeps the evaluations of all trials and says which to stop."""

    def __init__(self, config: EarlyStopping, metric: Objective) -> None:
        stops = RULES[config.kind]
        assert stops is not None, config.kind
        self._config, self._stops, self._metric = config, stops, metric
        self._trials: dict[str, Evaluations] = {}

    def add(self, name: str, config: Mapping[str, Any], rows: list[Row]) -> bool:
        """Take in the rows of a trial; True if it should end here."""
        trial = self._trials.setdefault(name, Evaluations(config["seed"]))
        behind = None
        for row in rows:
            if row["phase"] == "eval" and self._metric.name in row and row["step"] not in trial.steps:
                trial.steps.append(row["step"])
                trial.env_steps.append(row.get("cost/env_steps", 0.0))
                trial.values.append(self._metric.sign * row[self._metric.name])
                behind = self._is_behind(name, trial, config)  # at each: rows of a resumed trial come all at once
        return self._is_behind(name, trial, config) if behind is None else behind

    def _is_behind(self, name: str, trial: Evaluations, config: Mapping[str, Any]) -> bool:
        if not trial.steps or trial.steps[-1] >= config["steps"]:
            return False  # the last evaluation: nothing is left to save
        grace = grace_step(config, self._config.grace)
        if trial.steps[-1] < grace:
            return False
        now = statistics.fmean(trial.values[-self._metric.last :])
        others = (t for other, t in self._trials.items() if other != name and t.seed == trial.seed)
        peers = [value for t in others if (value := t.at(trial.env_steps[-1])) is not None]
        return self._stops(self._config, trial, grace, now, peers)


def grace_step(config: Mapping[str, Any], fraction: float | None) -> float:
    """The optimiser step before which a trial is safe: `fraction` of the run, or where its teacher weight has decayed.

    At least a third of the run; all of it for a weight that follows what training measures.
    """
    steps: int = config["steps"]
    if fraction is not None:
        return fraction * steps
    objective = config["objective"]
    # An objective without a teacher's weight has nothing that could still be decaying.
    settled = (
        _SCHEDULE.validate_python(objective["distill_weight"]).settled(steps) if "distill_weight" in objective else 0
    )
    return min(max(settled, steps / 3), steps)
