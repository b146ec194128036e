"""Episodes that an engine speaks are those of our own player, if it says the same. Needs no TRL."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small import ECHO, make_model, play, tiny, tokenizer

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.errors import UserError
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import Manner, conversation_for
from atod_sweep.training.play.outcomes import Episodes, Limits
from atod_sweep.trl import trial
from atod_sweep.trl.rollouts import Engine, EnginePlayer, as_trl, engine_of

SEEDS = [2, 3, 4, 8]
JUNK = [5, 5, 1]


def saying(episodes: Episodes, logps: bool) -> Engine:
    """An engine that goes on as these episodes did, and does not know when to end."""
    rows = [ids[:length].tolist() for ids, length in zip(episodes.ids_ST, episodes.length_S.tolist(), strict=True)]
    spoken = [set(episodes.column_N[episodes.sequence_N == e].tolist()) for e in range(len(rows))]

    def engine(prompts: list[list[int]]) -> Any:
        answers, told, e = [], [], -1
        for prompt in prompts:
            e = next(i for i, ids in enumerate(rows) if i > e and ids[: len(prompt)] == prompt)  # they keep their order
            end = next(c for c in range(len(prompt), len(rows[e]) + 1) if c not in spoken[e])
            answer = rows[e][len(prompt) : end]
            answers.append(answer + (JUNK if answer[-1] == 1 else []))
            told.append([-0.5 - e] * len(answers[-1]))
        return answers, told if logps else None

    return engine


def through(engine: Engine, policy: Policy, context: int = 256, horizon: int = 4) -> Episodes:
    talk = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    player = EnginePlayer(Batch(Env(id=ECHO, horizon=horizon), len(SEEDS)), talk, Limits(4, context))
    player.engine = engine
    return player.play(policy, SEEDS, "train", 1.0, torch.Generator())


@pytest.mark.parametrize("logps", [True, False])
def test_an_engine_that_says_the_same_plays_the_same(logps: bool) -> None:
    model = make_model("llama")
    ours = play(model, SEEDS)
    assert any(act.cut for outcome in ours.outcomes for act in outcome.acts)  # ends are appended to some
    policy = Policy(model).train()
    theirs = through(saying(ours, logps), policy)
    assert policy.training
    assert theirs.ids_ST.tolist() == ours.ids_ST.tolist()
    assert theirs.outcomes == ours.outcomes
    for name in ("sequence_N", "column_N", "turn_N", "length_S"):
        assert torch.equal(getattr(theirs, name), getattr(ours, name)), name
    if logps:
        assert theirs.logp_N.tolist() == [-0.5 - e for e in ours.sequence_N.tolist()]
    else:
        assert all(map(math.isnan, theirs.logp_N.tolist()))


@pytest.mark.parametrize("logps", [True, False])
def test_what_trl_is_given(logps: bool) -> None:
    model = make_model("llama")
    ours = play(model, SEEDS)
    given = as_trl(through(saying(ours, logps), Policy(model)))
    assert given["total_reward"] == [outcome.total for outcome in ours.outcomes]
    for e, length in enumerate(ours.length_S.tolist()):
        prompt, completion, mask = (given[name][e] for name in ("prompt_ids", "completion_ids", "env_mask"))
        assert prompt + completion == ours.ids_ST[e, :length].tolist()
        columns = [len(prompt) + i for i, said in enumerate(mask) if said]
        assert columns == ours.column_N[ours.sequence_N == e].tolist()
        assert mask[0] == 1
        if logps:
            assert given["logprobs"][e] == [(-0.5 - e) * said for said in mask]
    assert logps or given["logprobs"] is None


def test_an_episode_that_outgrows_its_context_is_an_error() -> None:
    model = make_model("llama")
    said = lambda prompts: ([[4, 1]] * len(prompts), None)  # noqa: E731
    with pytest.raises(UserError, match=r"outgrown its context of 16 tokens.*rollout\.max_context_tokens"):
        through(said, Policy(model), context=16, horizon=8)


def test_one_method_of_trl_is_called() -> None:
    calls: list[Any] = []
    trainer = SimpleNamespace(_generate_single_turn=lambda *args: calls.append(args) or ([[1]], None))
    assert engine_of(trainer)([[2, 3]]) == ([[1]], None)
    assert calls == [([[2, 3]], None, {}, 1)]


# ---- models that do not fit ----------------------------------------------------------------------------------------


def company(kind: Any = "growing", teacher: Any = None, **changes: Any) -> Any:
    talk = conversation_for(tokenizer(), True, [], Manner(kind))
    voice = SimpleNamespace(conversation=SimpleNamespace(**vars(talk) | changes) if changes else talk)
    return SimpleNamespace(stage=SimpleNamespace(policy=Policy(make_model("llama")), teacher=teacher), voice=voice)


def teacher_of(model: Any) -> Any:
    found = object.__new__(trial.LocalTeacher)
    found.policy = Policy(model)
    return found


def test_models_that_fit() -> None:
    trial._fits(tiny(), company(), 1)
    trial._fits(tiny(), company(teacher=teacher_of(make_model("qwen3"))), 1)


def test_models_that_do_not_fit() -> None:
    adapted = teacher_of(make_model("llama"))
    adapted.policy.model.peft_config = {}
    cases = [
        (company("per_turn"), "renders every turn anew"),
        (company(teacher=adapted), "merge them into their base"),
        (company(teacher=teacher_of(make_model("llama", vocabulary=20))), "the student has 15, the teacher 20"),
    ]
    for found, said in cases:
        with pytest.raises(UserError, match=said):
            trial._fits(tiny(), found, 1)
