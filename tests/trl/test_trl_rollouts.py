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
from atod_sweep.trl.rollouts import Engine, EnginePlayer, as_trl, engine_of, filled_up
from atod_sweep.trl.rows import over_episodes, passes_of

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


def test_an_episode_that_outgrows_its_context_goes_on_in_another_row() -> None:
    model = make_model("llama")
    ours = play(model, SEEDS, context=24)
    assert len(ours.ids_ST) > len(SEEDS)
    theirs = through(saying(ours, logps=True), Policy(model), context=24)
    assert theirs.ids_ST.tolist() == ours.ids_ST.tolist()
    assert torch.equal(theirs.turn_N, ours.turn_N)
    assert as_trl(theirs)["episode"] == ours.episode_S.tolist()


def test_passes_are_filled_up_to_as_many_rows() -> None:
    rows = [[i] for i in range(5)]
    found = {"prompt_ids": rows[:], "completion_ids": rows[:], "env_mask": [[1]] * 5, "logprobs": None}
    owners = [0, 0, 1, 2, 3]
    filled_up(found, owners, each=2, rows=4, pad=9)
    assert owners == [0, 0, 1, 1, 2, 3, 3, 3]
    assert found["prompt_ids"] == found["completion_ids"] == [[0], [1], [2], [9], [3], [4], [9], [9]]
    assert found["env_mask"] == [[1], [1], [1], [0], [1], [1], [0], [0]]
    assert found["logprobs"] is None


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
        (company(teacher=adapted), "merge them into their base"),
        (company(teacher=teacher_of(make_model("llama", vocabulary=20))), "the student has 15, the teacher 20"),
    ]
    for found, said in cases:
        with pytest.raises(UserError, match=said):
            trial._fits(tiny(), found, 1)


# ---- episodes of several rows --------------------------------------------------------------------------------------


def test_weights_of_an_episode_do_not_depend_on_how_it_is_cut_into_rows() -> None:
    """Turns of 2, 1, 3 and 1 tokens: in one row, and in rows of one or two turns; another episode beside it."""
    turn_weights = torch.tensor([0.1, 0.2, 0.3, 0.4])

    def weights(step: int, mask_BT: Any, total: int, horizon: int, student: Any, teacher: Any) -> Any:
        starts = mask_BT.bool() & ~torch.nn.functional.pad(mask_BT[:, :-1].bool(), (1, 0))
        turn_BT = (starts.cumsum(1) - 1).clamp(min=0)
        most_B1 = (student - teacher).abs().amax(1, keepdim=True)  # of the whole episode
        return turn_weights[turn_BT] * most_B1 * mask_BT, student * mask_BT

    one = torch.tensor([[1, 1, 0, 1, 0, 1, 1, 1, 0, 1]])
    cut = torch.tensor([[1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    episode = torch.tensor([0, 0, 0, 1, 1])
    told = torch.arange(1.0, 8.0)
    student, teacher = torch.zeros(1, 10), torch.zeros(1, 10)
    student[one.bool()] = told
    whole = weights(0, one, 1, 4, student, teacher)
    rows = torch.zeros(5, 5)
    rows[:3][cut[:3].bool()] = told
    rows[3] = 9.0
    found = over_episodes(weights, episode)(0, cut, 1, 4, rows, torch.zeros(5, 5))
    for mine, theirs in zip(found, whole, strict=True):
        assert mine.shape == (5, 5)
        assert mine[:3][cut[:3].bool()].tolist() == theirs[one.bool()].tolist()
    assert found[0][3].tolist() == pytest.approx([0.9] * 5)


def test_passes_hold_whole_episodes() -> None:
    batch = {
        "episode": torch.tensor([0, 0, 1, 2, 2, 2, 3]),
        "ids": torch.arange(7),
        "items": torch.tensor(5),
        "no": None,
    }
    first, second = passes_of(batch, 2)
    assert (first["ids"].tolist(), second["ids"].tolist()) == ([0, 1, 2], [3, 4, 5, 6])
    assert first["items"] == second["items"] == 5
