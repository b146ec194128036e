"""Samplers as a user may write them: one that never draws the same twice, one that fails, one that is none."""

from __future__ import annotations

import os

from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler


class Unrepeatable(RandomSampler):
    """Draws by the system's entropy, and counts how often it is asked."""

    asked = 0

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(int.from_bytes(os.urandom(4), "little"))
        self.width = width

    def before_trial(self, study, trial):
        type(self).asked += 1


class Tuned(CmaEsSampler):
    """One of the user's own, of a kind that models all parameters at once."""


class Failing(BaseSampler):
    """Proposes nothing."""

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, param_name, param_distribution):
        raise RuntimeError("no idea")


class NoSampler:
    """Something else."""
