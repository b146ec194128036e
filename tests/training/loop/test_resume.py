"""A run that was stopped and resumed is, bit for bit, the run that was never stopped."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from interruptions import Recorder, Stop, same, stopped_run, weights
from small import tiny

from atod_sweep.config.train import Train
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train

CONFIGS = {
    "interpolated, adaptive": {
        "objective__distill_weight__kind": "adaptive",
        "objective__distill_weight__threshold": 1e9,  # a level at every step
        "objective__distill_weight__levels": 5,
        "rollout__temperature__kind": "linear",
        "rollout__temperature__start": 1.5,
        "rollout__temperature__end": 0.5,
    },
    "hybrid, t_dur": {"objective__kind": "hybrid", "objective__turns__kind": "t_dur"},
    "gae, minibatches": {
        "objective__advantage__kind": "gae",
        "objective__kl_penalty__kind": "k1",
        "objective__kl_penalty__coef__kind": "target_kl",
        "update__epochs": 2,
        "update__minibatches": 3,
    },
    "takeover, depth": {
        "rollout__takeover": {"probability": 0.5},
        "rollout__depth": {"from": "end", "share": {"kind": "linear", "start": 0.4, "end": 1.0}},
    },
    "spin": {"objective__kind": "spin", "objective__refresh_steps": 2},
}


@pytest.fixture(scope="module")
def uninterrupted(built, tmp_path_factory):
    """Config, rows and final weights of a run that nobody stops, by the config's name; each is run once."""

    @cache
    def run(name: str) -> tuple[Train, dict[tuple[str, int], str], dict[str, torch.Tensor]]:
        config, folder, recorder = tiny(**CONFIGS[name]), tmp_path_factory.mktemp("whole"), Recorder()
        train(config, folder, recorder)
        return config, recorder.by_step(), weights(folder)

    return run


@pytest.mark.parametrize("name", CONFIGS)
def test_two_runs_of_one_config_are_equal(uninterrupted, tmp_path, name):
    """Whatever was drawn from the global generators in between."""
    config, rows, final = uninterrupted(name)
    torch.manual_seed(123)
    np.random.seed(123)
    random.seed(123)
    recorder = Recorder()
    train(config, tmp_path, recorder)
    assert recorder.by_step() == rows
    assert same(weights(tmp_path), final)
    assert [step for phase, step in rows if phase == "eval"] == [0, 2, 4]
    assert [step for phase, step in rows if phase == "train"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "at"),
    [
        *((name, 1 + i % 2) for i, name in enumerate(CONFIGS)),
        *(("hybrid, t_dur", 0), ("gae, minibatches", 3)),
        *(pytest.param(name, 2 - i % 2, marks=pytest.mark.slow) for i, name in enumerate(CONFIGS)),
    ],
)
def test_stopped_in_the_middle_of_a_step(uninterrupted, tmp_path, name, at):
    config, rows, final = uninterrupted(name)
    before, after = Recorder(), Recorder()
    stopped_run(config, tmp_path, at, before)
    train(config, tmp_path, after, resume=True)
    resumed = after.by_step()
    assert resumed == {key: rows[key] for key in resumed}
    assert {key for key in rows if key[1] > at or key == ("train", at)} <= resumed.keys()
    assert before.by_step() | resumed == rows  # no row is lost in between
    assert same(weights(tmp_path), final)


def test_a_resumed_run_may_play_fewer_episodes_at_once(uninterrupted, tmp_path):
    """Whoever ran out of memory goes on, and nothing is different."""
    config, rows, final = uninterrupted("hybrid, t_dur")
    stopped_run(config, tmp_path, 2, Recorder())
    few = {"rollout": {"episodes_at_once": 3}, "evaluation": {"episodes_at_once": 5}}
    smaller = config.model_copy(
        update={part: getattr(config, part).model_copy(update=update) for part, update in few.items()}
    )
    after = Recorder()
    train(smaller, tmp_path, after, resume=True)
    assert {key for key in rows if key[1] > 2} <= after.by_step().keys()
    assert same(weights(tmp_path), final)


@pytest.mark.parametrize("call", [0, 1, 2])
def test_stopped_while_reporting(uninterrupted, tmp_path, call):
    config, rows, final = uninterrupted("interpolated, adaptive")
    before, after = Recorder(fail_at=call), Recorder()
    with pytest.raises(Stop):
        train(config, tmp_path, before)
    train(config, tmp_path, after, resume=True)
    assert before.by_step() | after.by_step() == rows
    assert all(rows[key] == row for key, row in after.by_step().items())
    assert same(weights(tmp_path), final)


def test_stopped_between_two_checkpoints(built, tmp_path):
    """Steps since the last checkpoint are done again, with the same outcome. Checkpoints are no part of the config."""
    whole, before, after = Recorder(), Recorder(), Recorder()
    config = tiny(steps=6, evaluation__every=10)
    train(config, tmp_path / "whole", whole)
    stopped_run(config.model_copy(update={"checkpoint_every": 3}), tmp_path / "stopped", 4, before)
    assert [p.name for p in (tmp_path / "stopped" / "checkpoint").iterdir()] == ["step-000003"]
    train(config.model_copy(update={"checkpoint_every": 2}), tmp_path / "stopped", after, resume=True)
    assert [key for key in after.by_step() if key[0] == "train"] == [("train", step) for step in range(6)]
    assert before.by_step() | after.by_step() == whole.by_step()
    assert same(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


def test_a_resumed_run_bills_what_the_stopped_one_spent(built, tmp_path):
    config = tiny()
    whole = train(config, tmp_path / "whole")
    stopped_run(config, tmp_path / "stopped", 2)
    resumed = train(config, tmp_path / "stopped", resume=True)
    assert resumed.final == whole.final
    spent = {key: value for key, value in whole.cost.items() if key != "seconds"}
    assert {key: value for key, value in resumed.cost.items() if key != "seconds"} == spent
    assert spent["updates"] == 4
    assert spent["episodes"] == 32


def test_resuming_where_nothing_was_saved_starts_at_the_beginning(built, tmp_path):
    first, again = Recorder(), Recorder()
    train(tiny(), tmp_path / "a", first)
    train(tiny(), tmp_path / "b", again, resume=True)
    assert again.by_step() == first.by_step()


def test_starting_over_leaves_no_old_checkpoint_in_the_way(built, tmp_path):
    """A run that does not resume must not be resumed later from what another run left behind."""
    stopped_run(tiny(seed=1), tmp_path, 3)
    stopped_run(tiny(), tmp_path, 1)
    assert [p.name for p in (tmp_path / "checkpoint").iterdir()] == ["step-000001"]
    run = assemble(tiny(), tmp_path, resume=True)
    assert run.step == 1


def test_seeds_differ_in_training_and_share_their_start(built, tmp_path):
    rows = []
    for seed in (0, 1):
        recorder = Recorder()
        train(tiny(seed=seed), tmp_path / str(seed), recorder)
        rows.append(recorder.by_step())
    assert rows[0]["eval", 0] == rows[1]["eval", 0]
    assert rows[0]["train", 0] != rows[1]["train", 0]
    assert not same(weights(tmp_path / "0"), weights(tmp_path / "1"))


def test_diagnostics_and_evaluations_do_not_disturb_training(built, tmp_path):
    finals = []
    for i, settings in enumerate(
        ({}, {"evaluation__every": 1, "evaluation__tasks": 5, "evaluation__seed": 9}, {"diagnostics_every": 1})
    ):
        train(tiny(**settings), tmp_path / str(i))
        finals.append(weights(tmp_path / str(i)))
    assert same(finals[0], finals[1])
    assert same(finals[0], finals[2])


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from small import tiny
from atod_sweep.training.loop.trainer import train
train(tiny(steps=60), Path({folder!r}))
"""


@pytest.mark.slow
def test_killed_without_warning(built, tmp_path):
    """SIGKILL at whatever it is doing, in another process than the one that resumes."""
    config = tiny(steps=60)
    train(config, tmp_path / "whole")
    program = PROGRAM.format(here=str(Path(__file__).parent), folder=str(tmp_path / "killed"))
    running = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 200
    while not list((tmp_path / "killed").glob("checkpoint/step-00000[5-9]")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.kill()
    running.wait()
    assert not (tmp_path / "killed" / "student").exists()
    after = Recorder()
    train(config, tmp_path / "killed", after, resume=True)
    assert min(step for phase, step in after.by_step() if phase == "train") > 0
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
