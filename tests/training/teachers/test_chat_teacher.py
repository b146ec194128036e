"""A teacher that speaks text only: what it is told, what is made of what it says, and what the student learns of it."""

from __future__ import annotations

import pytest
import torch
from echo_env import PARTNER
from served import at, rows_of
from small import tiny
from stub_api import Stub

from atod_sweep.training.algorithms.relabelling import beside, relabelled
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import evaluate_model, train

RELABEL = {"objective__distill__kind": "relabel"}


def partner(messages):
    """The right action of the Echo environment."""
    return PARTNER[messages[-1]["content"].split()[-1]]


@pytest.fixture
def server():
    stub = Stub(say=partner)
    yield stub
    stub.stop()


def test_it_is_told_the_conversation_and_heard_as_the_student_would_be(built, server, tmp_path):
    stage = assemble(tiny(**RELABEL, **at(server, "chat")), tmp_path, resume=False).stage
    episodes = stage.play(stage.policy, 0)
    theirs, metrics = relabelled(stage, episodes, 0.0)
    told = server.asked[-1][1]
    assert told["temperature"] == 0.0
    assert told["messages"][0]["role"] == "system"
    roles = [message["role"] for message in told["messages"][1:]]
    assert roles == [("user", "assistant")[i % 2] for i in range(len(roles))]
    assert roles[-1] == "user"
    outcomes = episodes.outcomes
    right = [PARTNER[seen.split()[-1]] for outcome in outcomes for seen, _ in outcome.transcript]
    mine = [said for outcome in outcomes for _, said in outcome.transcript]
    assert metrics["relabel/same"] == pytest.approx(sum(a == b for a, b in zip(mine, right, strict=True)) / len(right))
    assert metrics["relabel/left_out"] == 0.0
    # One sequence for each state: the prompt that the student saw, then the action and its end.
    talk, tokens = stage.player.conversation, theirs.target_N.tolist()
    words = [talk.decode_action(tuple(tokens[i : i + 2])) for i in range(0, len(tokens), 2)]
    assert words == right
    places = [(e, k) for e, outcome in enumerate(outcomes) for k in range(outcome.turns) for _ in range(2)]
    assert list(zip(theirs["episode"].tolist(), theirs["turn"].tolist(), strict=True)) == places
    whole = {tuple(ids[:n]) for ids, n in zip(episodes.ids_ST.tolist(), episodes.length_S.tolist(), strict=True)}
    for ids, n in zip(theirs.ids_ST.tolist(), theirs.length_S.tolist(), strict=True):
        assert any(sequence[: n - 2] == tuple(ids[: n - 2]) for sequence in whole)


@pytest.mark.parametrize(
    ("said", "left_out"),
    [("", 1.0), ("  ", 1.0), ("one two three one two", 1.0), ("gibberish", 1.0), ("one", 0.0), (" one\n", 0.0)],
)
def test_what_the_student_cannot_say_is_left_out(built, server, tmp_path, said, left_out):
    server.says["say"] = lambda _: said
    stage = assemble(tiny(**RELABEL, **at(server, "chat")), tmp_path, resume=False).stage
    assert relabelled(stage, stage.play(stage.policy, 0), 0.0)[1]["relabel/left_out"] == left_out
    assert train(tiny(**RELABEL, steps=1, **at(server, "chat")), tmp_path / "run").final["eval/success"] >= 0


def test_the_terms_of_both_kinds_of_tokens_are_means_over_their_own(built, server, tmp_path):
    """So the teacher's weight scales its own gradient, and leaves that of the reward as it is."""
    run = assemble(tiny(**RELABEL, **at(server, "chat")), tmp_path, resume=False)
    stage, mix = run.stage, run.algorithm
    episodes = stage.play(stage.policy, 0)
    alone, _ = mix.prepare(stage.policy, episodes, 0, 1.0, stage.score_tokens)
    theirs, _ = relabelled(stage, episodes, 0.0)
    losses = {}
    for weight in (0.25, 0.5):
        both = beside(stage, alone, theirs, torch.full((theirs.tokens,), weight))
        terms = mix.terms(stage.policy(both.ids_ST, both.index_N), both)
        losses[weight] = {name: term.item() / both.tokens for name, term in terms.items()}
    own = mix.terms(stage.policy(alone.ids_ST, alone.index_N), alone)
    for found in losses.values():
        assert found["reward"] == pytest.approx(own["reward"].item() / alone.tokens, rel=1e-4)
    assert losses[0.5]["distill"] == pytest.approx(2 * losses[0.25]["distill"], rel=1e-5)
    output = stage.policy(theirs.ids_ST, theirs.index_N)
    nats = -output.logits_NV.log_softmax(-1).gather(1, theirs.target_N[:, None]).mean()
    assert losses[0.5]["distill"] == pytest.approx(0.5 * nats.item(), rel=1e-4)


def test_relabelling_by_a_teacher_that_is_here(built, tmp_path):
    rows = rows_of(tiny(**RELABEL), tmp_path)
    assert {"loss/distill", "relabel/same", "relabel/left_out"} <= rows[1].keys()
    assert "kl/teacher" not in rows[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"objective__advantage__kind": "gae", "objective__kl_penalty__kind": "k1", "update__minibatches": 2},
        {"objective__kl_penalty__kind": "full", "objective__entropy_coef": 0.01},
        {"update__target_kl": 0.1, "update__epochs": 2},
        {"update__micro_batch_tokens": 64},
        {"objective__turns__kind": "thresholds"},
        {"rollout__max_context_tokens": 24},
    ],
)
def test_beside_everything_else_that_a_loss_may_have(built, server, tmp_path, settings):
    rows = rows_of(tiny(**RELABEL, **settings, **at(server, "chat")), tmp_path)
    assert all(row["loss/distill"] > 0 for row in rows if row["phase"] == "train")


def test_a_trial_repeats_and_resumes_at_no_cost(built, server, tmp_path):
    config = tiny(
        **RELABEL,
        objective__distill__ask_temperature=1.0,
        **at(server, "chat", teacher__price={"input": 1.0, "output": 2.0}),
    )
    rows = rows_of(config, tmp_path / "a")
    asked = server.answered
    bills = []
    train(config, tmp_path / "b", bills.extend)
    assert server.answered == asked
    assert bills[-1]["cost/teacher_money"] == bills[-1]["cost/teacher_requests"] == 0
    assert bills[-1]["cost/teacher_hits"] > 0
    assert rows_of(config, tmp_path / "c") == rows


def test_at_temperature_0_a_state_is_asked_about_once(built, server, tmp_path):
    train(tiny(**RELABEL, **at(server, "chat")), tmp_path)
    told = [str(body["messages"]) for _, body in server.asked]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("kind", ["sft", "spin"])
def test_its_own_episodes(built, server, tmp_path, kind):
    rows = rows_of(tiny(objective__kind=kind, **at(server, "chat")), tmp_path)
    assert rows[1]["rollout/success"] > 0


def test_itself_as_a_control(built, server, tmp_path):
    """Right wherever an episode lasts for the whole horizon."""
    found = evaluate_model(tiny(**RELABEL, **at(server, "chat")), "")
    assert found["eval/share"] == found["eval/reward"] > 0.5
    assert "eval/token_entropy" not in found


def test_options_go_over_the_fields_of_a_request(built, server, tmp_path):
    options = {"max_tokens": None, "max_completion_tokens": 9, "temperature": None}
    settings = at(server, "chat", teacher__options=options, teacher__system="")
    train(tiny(**RELABEL, steps=1, **settings), tmp_path)
    body = server.asked[0][1]
    assert body.keys() == {"model", "messages", "max_completion_tokens"}
    assert body["messages"][0]["role"] == "user"


def test_turns_that_it_plays_itself_are_not_relabelled(built, server, tmp_path):
    """A step's own turns are imitated by relabelling, the teacher's by what it said there."""
    takes = {"rollout__takeover__probability": 0.5}
    stage = assemble(tiny(**RELABEL, **takes, **at(server, "chat")), tmp_path, resume=False).stage
    episodes = stage.play(stage.policy, 0)
    acts = [act for outcome in episodes.outcomes for act in outcome.acts]
    assert 0 < sum(act.taken is not None for act in acts) < len(acts)
    theirs, _ = relabelled(stage, episodes, 0.0)
    assert len(theirs.ids_ST) == sum(act.taken is None for act in acts)
    rows = rows_of(tiny(**RELABEL, **takes, **at(server, "chat")), tmp_path / "trial")
    assert {"loss/distill", "loss/imitation", "loss/reward"} <= rows[1].keys()
