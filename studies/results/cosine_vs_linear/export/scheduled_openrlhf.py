"""OpenRLHF: the KL coefficient of the schedule at every step. Run this file in place of openrlhf.cli.train_ppo_ray.

OpenRLHF has no teacher, so nothing else of the schedule is carried. The step is the trainer's `global_step`, which
counts from 0 and is restored from checkpoints.
"""

from __future__ import annotations

import runpy
from importlib import import_module
from typing import Any

import schedule  # type: ignore[import-not-found,unused-ignore]

STEPS, HORIZON = schedule.SPEC["steps"], schedule.SPEC["horizon"]


class ScheduledKL:
    """Stands in for OpenRLHF's KL controllers: `value` is the coefficient of `step`."""

    step = 0

    @property
    def value(self) -> float:
        """The coefficient in force."""
        return schedule.weights(self.step, 0, STEPS, HORIZON)["beta_kl"]

    def update(self, current: float, n_steps: int) -> None:
        """OpenRLHF reports the measured KL here; a schedule does not follow it."""


def scheduled(trainer_class: Any) -> Any:
    """`trainer_class` with the scheduled coefficient in its loss and in its rewards."""

    class ScheduledTrainer(trainer_class):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.kl_ctl = self.experience_maker.kl_ctl = ScheduledKL()

        def train_step(self, rollout_samples: Any, global_step: int) -> Any:
            self.kl_ctl.step = global_step
            return super().train_step(rollout_samples, global_step)

    return ScheduledTrainer


if __name__ == "__main__":
    ray: Any = import_module("ray")
    module: Any = import_module("openrlhf.trainer.ppo_trainer")
    module.PPOTrainer = ray.remote(scheduled(module.PPOTrainer.__ray_metadata__.modified_class))
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")
