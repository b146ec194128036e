"""Perturbed demonstrations: a mistake is one of the actions that are legal in the episode's own state, and no label."""

import sys
from types import ModuleType

import gymnasium
import numpy as np
import pytest

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.pool import Pool
from atod_sweep.training.pretraining.demonstrations import demonstrate


class Doors(gymnasium.Env):
    """In the room of seed s, turn t, the doors are "s t left" and "s t right"; rooms of odd seeds have a third one."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.room, self.turn = seed, 0
        return f"room {seed}", {}

    def step(self, action):
        legal = action in self.actions() or action == "wait"
        self.turn += 1
        return f"{self.room} {self.turn}", float(legal), not legal, self.turn == self.horizon, {}

    def demonstrator_action(self):
        return "wait"

    def actions(self):
        doors = ["left", "right", "up"][: 2 + self.room % 2]
        return [f"{self.room} {self.turn} {door}" for door in doors]


@pytest.fixture
def doors(monkeypatch):
    module = ModuleType("doors_env")
    module.Doors = Doors
    monkeypatch.setitem(sys.modules, "doors_env", module)
    return Env(id="doors_env:Doors", horizon=6)


SEEDS = [1, 2, 3, 1]


def test_mistakes_are_drawn_from_the_state_that_they_are_made_in(doors):
    episodes = demonstrate(Batch(doors, 4), SEEDS, "train", 0.5, np.random.default_rng(0))
    astray = 0
    for seed, episode in zip(SEEDS, episodes, strict=True):
        assert len(episode) == 6  # Doors ends an episode early at an action that is not legal there
        for turn, played in enumerate(episode):
            assert played.learn == (played.action == "wait")
            if not played.learn:
                astray += 1
                assert played.action.startswith(f"{seed} {turn} ")
    assert 6 <= astray <= 18  # of 24 turns, one half astray


def test_without_perturbation_nobody_asks_for_actions(doors, monkeypatch):
    monkeypatch.delattr(Doors, "actions")
    monkeypatch.setattr(Doors, "step", lambda self, action: ("", 1.0, action == "wait", False, {}))
    episodes = demonstrate(Batch(doors, 2), [1, 2], "train", 0.0, np.random.default_rng(0))
    assert [[turn.action for turn in episode] for episode in episodes] == [["wait"], ["wait"]]


def test_worker_processes_make_the_same_mistakes():
    config = Env(id="planner", horizon=8)
    batch, pool = Batch(config, 3), Pool(config, 3, workers=2)
    played = [demonstrate(b, [5, 6, 7], "train", 0.5, np.random.default_rng(1)) for b in (batch, pool)]
    pool.close()
    assert played[0] == played[1]
    assert not all(turn.learn for episode in played[0] for turn in episode)
