"""Every way in which a trial can fail ends it with a status of its own."""

from __future__ import annotations

import math

import pytest
import torch
from echo_env import Echo
from small import make_model, play, tiny, tokenizer

from atod_sweep.config.train import Env, Train
from atod_sweep.envs.failures import EnvironmentFailed, EnvironmentTimeout
from atod_sweep.envs.pool import open_batch
from atod_sweep.errors import UserError
from atod_sweep.records.status import Status
from atod_sweep.training import failures
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.failures import Diverged, TeacherFailed, TrialError
from atod_sweep.training.loop import cast
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.scoring import score


def on(built, **settings) -> Train:
    """A config on models that were built where nothing went wrong."""
    paths = {"student__kind": "pretrained", "student__path": built.student.path}
    paths |= {"teacher__kind": "pretrained", "teacher__path": built.teacher.path}
    return tiny(**paths | settings)


def test_statuses_tell_the_failures_apart():
    kinds = [cls for cls in vars(failures).values() if isinstance(cls, type) and issubclass(cls, TrialError)]
    statuses = [cls.status for cls in kinds if cls is not TrialError]
    assert len(statuses) == len(set(statuses)) >= 6
    assert all(isinstance(status, Status) for status in statuses)


@pytest.mark.parametrize(
    ("name", "status"), [("teacher", "teacher_failed"), ("reference", "reference_failed"), ("policy", "diverged")]
)
def test_a_model_without_probabilities_is_named_for_what_it_is(name, status):
    batch, model = TokenBatch.of(play(make_model("llama"), [1, 2, 3])), Policy(make_model("gpt2"))
    model.forward = lambda ids, index: Output(torch.full((len(index), 15), math.nan), None)
    with pytest.raises(TrialError, match=f"the {name} gives a sampled token the log-probability nan") as error:
        score(model, batch, name, 1.0, None, 10**6)
    assert error.value.status == status


@pytest.mark.parametrize("turn", [0, 1])
def test_an_environment_that_raises(built, tmp_path, turn):
    config = on(built, env__kwargs={"fault": "raise", "fault_turn": turn})
    with pytest.raises(
        EnvironmentFailed, match=r"raised RuntimeError: the server is gone \(echo_env.py:\d+\)$"
    ) as error:
        train(config, tmp_path)
    assert error.value.status == "environment_failed"
    assert isinstance(error.value.__cause__, RuntimeError)


def test_an_environment_that_raises_at_the_start(built, tmp_path, monkeypatch):
    monkeypatch.setattr(Echo, "reset", lambda *_, **__: {}["no such task"])
    with pytest.raises(EnvironmentFailed, match="KeyError: 'no such task'"):
        train(on(built), tmp_path)


def test_a_reward_that_is_no_number(built, tmp_path):
    with pytest.raises(
        EnvironmentFailed,
        match=r"seed \d+, turn 2: step\(\) returned the reward nan \(float\); expected a finite number",
    ) as error:
        train(on(built, env__kwargs={"fault": "nan"}), tmp_path)
    assert error.value.status == "environment_failed"


def test_an_environment_that_hangs(built, tmp_path):
    config = on(built, env__kwargs={"fault": "hang"}, rollout__step_timeout=0.2)
    with pytest.raises(EnvironmentTimeout, match=r"a step of task seed \d+ took longer than rollout") as error:
        train(config, tmp_path)
    assert error.value.status == "environment_timeout"


def test_a_timeout_that_is_never_reached_changes_nothing():
    model = make_model("llama")
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    pool = open_batch(Env(id="echo_env:Echo", horizon=4), 4, workers=1, timeout=60.0)
    player = Player(pool, conversation, Limits(4, 256))
    guarded = player.play(Policy(model), [1, 2, 3, 4], "train", 1.0, torch.Generator().manual_seed(5))
    pool.close()
    assert torch.equal(guarded.ids_ST, play(model, [1, 2, 3, 4]).ids_ST)


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_what_the_user_can_fix_is_no_failure_of_the_environment(built, tmp_path, timeout):
    config = on(built, env__kwargs={"fault": "refuse"}, rollout__step_timeout=timeout)
    with pytest.raises(UserError, match=r"^env.kwargs.key: the service refuses the key; renew it$"):
        train(config, tmp_path)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("kind", ["interpolated", "hybrid"])
def test_a_teacher_without_probabilities(built, tmp_path, monkeypatch, kind, value):
    find = cast.teacher

    logits = torch.zeros(15)
    logits[1] = value  # of the end token, which somebody will sample

    def broken(*args):
        teacher = find(*args)
        teacher.policy.forward = lambda ids, index: Output(logits.expand(len(index), 15), None)
        return teacher

    monkeypatch.setattr(cast, "teacher", broken)
    with pytest.raises(TeacherFailed, match="the teacher gives a sampled token the log-probability") as error:
        train(on(built, objective__kind=kind), tmp_path)
    assert error.value.status == "teacher_failed"


@pytest.mark.parametrize(
    "objective",
    [
        {},
        {"objective__kind": "hybrid", "objective__turns__kind": "t_dur"},
        {"objective__advantage__kind": "gae"},
        {"objective__distill_weight__kind": "adaptive"},
    ],
    ids=["interpolated", "hybrid", "gae", "adaptive"],
)
def test_a_run_that_diverges(built, tmp_path, objective):
    """A learning rate at which the weights overflow after the first update."""
    config = on(built, optimiser__lr=1e30, optimiser__warmup_steps=0, steps=5, evaluation__every=100, **objective)
    with pytest.raises(TrialError, match=r"at step [1-4]|log-probability nan") as error:
        train(config, tmp_path)
    assert error.value.status == "diverged"
    assert isinstance(error.value, Diverged)
