"""Whole trials with a teacher behind an API: what they learn is what they learn from the same teacher here."""

from __future__ import annotations

import pytest
from served import FAST, Local, Recorded, at, rows_of, stub
from small import tiny

from atod_sweep.errors import UserError
from atod_sweep.training.failures import TeacherFailed, TeacherUnreachable
from atod_sweep.training.loop.trainer import train

SAMPLED = {"objective__distill__kind": "sampled_reverse_kl"}
FAULTS = (
    "500",
    "429",
    "timeout",
    "truncated",
    "few",
    "many",
    "reordered",
    "short",
    "nan",
    "null",
    "html",
    "list",
    "gone",
)


@pytest.fixture
def recorded(built, tmp_path, monkeypatch):
    """The rows of a trial with the local teacher, and a stub that says what that said."""
    record = Recorded(monkeypatch)
    rows = rows_of(tiny(**SAMPLED), tmp_path / "local")
    server = stub(logp=record.said_of)
    yield rows, server
    server.stop()


@pytest.mark.parametrize("api", ["vllm", "openai"])
def test_a_trial_is_bitwise_the_local_one_whatever_goes_wrong(recorded, tmp_path, api):
    rows, server = recorded
    server.faults.extend(["", *FAULTS, "gone", "slow"])
    config = tiny(**SAMPLED, **at(server, teacher__api=api))
    assert rows_of(config, tmp_path / "served") == rows
    assert not server.faults
    before = server.answered
    assert rows_of(config, tmp_path / "again") == rows
    assert server.answered == before + 3  # the questions by which it is checked at the start


def test_hybrid_and_turn_weights_see_the_same_log_probs(built, tmp_path, monkeypatch):
    record = Recorded(monkeypatch)
    form = {"objective__kind": "hybrid", "objective__turns__kind": "t_dur"}
    rows = rows_of(tiny(**form), tmp_path / "local")
    server = stub(logp=record.said_of)
    assert rows_of(tiny(**form, **at(server)), tmp_path / "served") == rows
    server.stop()


def test_a_server_that_dies_in_mid_run_ends_the_trial_which_goes_on_where_it_was(recorded, tmp_path):
    rows, server = recorded
    config = tiny(**SAMPLED, **at(server, teacher__patience=0.3))
    server.dies_after = 6
    with pytest.raises(TeacherUnreachable, match=r"^teacher.url: http://127.0.0.1:\d+/v1 was away for") as error:
        train(config, tmp_path / "trial")
    assert error.value.status == "teacher_unreachable"
    assert error.value.status.retried
    server.stop()
    server.dies_after = None
    server.start()
    resumed = rows_of(config, tmp_path / "trial", resume=True)
    assert len(resumed) > 2
    assert resumed == rows[-len(resumed) :]
    moved = tiny(**SAMPLED, **at(server, teacher__concurrency=1))
    assert rows_of(moved, tmp_path / "anew") == rows


def test_the_likeliest_ids_and_the_rest_are_those_of_the_local_teacher(built, tmp_path):
    signal = {"objective__distill__kind": "forward_kl", "objective__distill__top_k": 4, "optimiser__lr": 1e-4}
    local = rows_of(tiny(**signal), tmp_path / "local")
    server = stub(logp=Local(tmp_path / "teacher").said_of)
    served = rows_of(tiny(**signal, **at(server)), tmp_path / "served")
    server.stop()
    for a, b in zip(local, served, strict=True):
        assert a.keys() == b.keys()
        for name in {"loss/distill", "kl/teacher", "grad_norm"} & a.keys():
            assert b[name] == pytest.approx(a[name], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("api", ["vllm", "openai"])
def test_it_plays_as_the_local_one_does(built, tmp_path, api):
    """SFT at a temperature that leaves no choice, so that draws do not matter."""
    cold = {"objective__kind": "sft", "rollout__temperature": 1e-3}
    local = Local(tmp_path / "teacher")
    server = stub(logp=local.said_of, continue_=local.continue_)
    mine = rows_of(tiny(**cold), tmp_path / "local")
    theirs = rows_of(tiny(**cold, **at(server, teacher__api=api)), tmp_path / "served")
    server.stop()
    unknown = "rollout/token_entropy"  # no server tells
    assert [{k: v for k, v in row.items() if k != unknown} for row in mine] == theirs


@pytest.mark.parametrize("fault", ["nan", "few", "null"])
def test_one_that_never_answers_soundly_is_named(recorded, tmp_path, fault):
    _, server = recorded
    server.faults.extend(["", "", *[fault] * 100])
    with pytest.raises(TeacherFailed, match="gave no usable answer 8 times: "):
        train(tiny(**SAMPLED, **at(server)), tmp_path / "trial")


def test_minus_infinity_is_a_teacher_without_a_probability(built, tmp_path):
    server = stub(logp=lambda ids: [{i: -9999.0} for i in ids[1:]])
    with pytest.raises(UserError, match="gives a sampled token the log-probability -inf"):
        train(tiny(**SAMPLED, **at(server)), tmp_path / "trial")
    server.stop()


# ---- found at the start ---------------------------------------------------------------------------------------------


def test_a_server_that_gives_fewer_likeliest_ids_is_the_users_to_mend(built, tmp_path):
    server = stub(logp=Local(tmp_path / "teacher").said_of)
    server.most_logprobs = 3
    signal = {"objective__distill__kind": "forward_kl", "objective__distill__top_k": 4}
    with pytest.raises(
        UserError, match=r"HTTP 400: Requested prompt logprobs of 4, which is greater than max allowed: 3"
    ):
        train(tiny(**signal, **at(server)), tmp_path / "trial")
    server.stop()


@pytest.mark.parametrize("api", ["vllm", "openai"])
def test_another_vocabulary_is_found_before_anything_is_learned(built, tmp_path, api):
    server = stub(logp=lambda ids: [{i: -1.0} for i in ids[1:]], tokenize=lambda text: [1, 2], spell=lambda ids: "?")
    with pytest.raises(
        UserError, match=r"^teacher.model: 'stub' has another vocabulary than the student: of a text of"
    ):
        train(tiny(**SAMPLED, **at(server, teacher__api=api)), tmp_path / "trial")
    server.stop()


def test_another_model_under_the_same_name_is_found(recorded, tmp_path):
    _, server = recorded
    config = tiny(**SAMPLED, **at(server))
    train(config, tmp_path / "a")
    server.says["logp"] = lambda ids: [{i: -7.0} for i in ids[1:]]
    with pytest.raises(UserError, match="serves another model as 'stub' than the one whose answers are kept in "):
        train(config, tmp_path / "b")


def test_nobody_is_asked_where_the_teacher_has_no_weight(built, tmp_path):
    nobody = {"teacher__kind": "server", "teacher__url": "http://127.0.0.1:1/v1", "teacher__model": "m", **FAST}
    train(tiny(objective__distill_weight=0.0, steps=1, **nobody), tmp_path / "rl")
    train(tiny(objective__kind="dpo", steps=1, **nobody), tmp_path / "dpo")
