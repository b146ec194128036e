"""SFT, DPO and SPIN: whole episodes instead of advantages."""

from __future__ import annotations

import pytest
import torch
from chat import CHATML, characters
from small import make_model, play, tiny, tokenizer

from atod_sweep.errors import UserError
from atod_sweep.objective import losses
from atod_sweep.training.algorithms.dpo import best_and_worst
from atod_sweep.training.algorithms.preferences import with_preferences
from atod_sweep.training.algorithms.sft import SFT
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.outcomes import Outcome


@pytest.mark.parametrize(
    ("rewards", "group", "pairs"),
    [
        ([0.0, 1.0, 0.5], 3, [(1, 0)]),
        ([1.0, 0.0, 1.0, 0.0], 4, [(0, 1)]),  # the first best and the first worst
        ([0.0, 0.0, 1.0, 0.0], 2, [(2, 3)]),  # a group without a difference gives no pair
        ([0.5, 0.5], 2, []),
        ([0.0, 1.0, 1.0, 0.0], 2, [(1, 0), (2, 3)]),
    ],
)
def test_best_and_worst_of_each_task(rewards, group, pairs):
    assert best_and_worst([Outcome(i, [reward]) for i, reward in enumerate(rewards)], group) == pairs


def prepared(beta: float, pairs: list[tuple[int, int]]):
    """A student that has moved away from its reference, and episodes on which they are compared."""
    policy, reference = Policy(make_model("llama")), Policy(make_model("llama", seed=1))
    batch = TokenBatch.of(play(make_model("llama"), [1, 2, 3, 4]))
    return policy, reference, *with_preferences(batch, pairs, policy, reference, beta, 10**6)


@pytest.mark.parametrize("beta", [0.1, 1.0])
@pytest.mark.parametrize("pairs", [[(0, 1)], [(0, 1), (3, 2)], [(0, 1), (0, 2)]])
def test_the_linear_form_has_the_gradient_of_the_dpo_loss(beta, pairs):
    policy, reference, batch, metrics = prepared(beta, pairs)
    term = (batch["preference"] * batch.logp(policy(batch.ids_ST, batch.index_N).logits_NV, 1.0)).sum() / batch.tokens
    have = torch.autograd.grad(term, list(policy.parameters()))

    def episode_logp(model: Policy, episode: int) -> torch.Tensor:
        """One unpadded episode through transformers' own forward."""
        ids = batch.ids_ST[episode, : batch.length_S[episode]]
        logp_TV = model.model(input_ids=ids[None]).logits[0].log_softmax(-1)
        columns = batch.column_N[batch.sequence_N == episode]
        return logp_TV[columns - 1, ids[columns]].sum()

    def both(model: Policy, side: int) -> torch.Tensor:
        return torch.stack([episode_logp(model, pair[side]) for pair in pairs])

    loss = losses.dpo(both(policy, 0), both(policy, 1), both(reference, 0), both(reference, 1), beta).mean()
    want = torch.autograd.grad(loss, list(policy.parameters()))
    for have_g, want_g in zip(have, want, strict=True):
        assert (have_g - want_g).norm() <= 1e-4 * want_g.norm() + 1e-7
    assert sum(g.norm() for g in want) > 0.01
    assert metrics["preference/loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert metrics["pairs"] == len(pairs)


def test_a_batch_without_pairs_has_no_gradient():
    policy, _, batch, metrics = prepared(0.1, [])
    assert metrics == {"pairs": 0}
    assert torch.equal(batch["preference"], torch.zeros(batch.tokens))
    term = (batch["preference"] * batch.logp(policy(batch.ids_ST, batch.index_N).logits_NV, 1.0)).sum()
    assert all(not g.any() for g in torch.autograd.grad(term, list(policy.parameters())))


def test_sft_is_cross_entropy_on_the_generated_tokens():
    model = make_model("llama", seed=1)
    batch = TokenBatch.of(play(make_model("llama"), [1, 2, 3, 4]))
    policy = Policy(model)
    have = (
        SFT(tiny(objective={"kind": "sft"}), None, None).terms(policy(batch.ids_ST, batch.index_N), batch)["sft"]
        / batch.tokens
    )
    labels = torch.full_like(batch.ids_ST, -100)
    labels[batch.sequence_N, batch.column_N] = batch.target_N
    want = model(input_ids=batch.ids_ST, labels=labels).loss  # transformers' own shifted cross-entropy
    assert have.item() == pytest.approx(want.item(), rel=1e-5)


def distance(a: Policy, b: Policy) -> float:
    return max((x - y).abs().max().item() for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_spin_renews_its_opponent_from_the_student(built, tmp_path):
    run = assemble(tiny(objective__kind="spin", objective__refresh_steps=2), tmp_path, resume=False)
    opponent, student = run.algorithm.reference, run.stage.policy
    assert distance(opponent, student) == 0.0
    assert opponent is not student
    for step, renewed in enumerate([False, False, True, False, True]):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(0.01)
        run.algorithm.collect(run.stage, step)
        assert (distance(opponent, student) == 0.0) == renewed, step


def test_spin_pairs_teacher_and_opponent_on_the_same_task(built, tmp_path, monkeypatch):
    run = assemble(tiny(objective__kind="spin"), tmp_path, resume=False)
    played = []
    play_it = run.stage.player.play
    monkeypatch.setattr(
        run.stage.player,
        "play",
        lambda policy, seeds, *a, **k: played.append((policy, seeds)) or play_it(policy, seeds, *a, **k),
    )
    collected = run.algorithm.collect(run.stage, 0)
    (teacher, chosen), (opponent, rejected) = played
    assert teacher is run.stage.teacher.policy
    assert opponent is run.algorithm.reference
    assert chosen == rejected
    assert len(chosen) == 4  # half of 2 tasks x 4 rollouts each
    assert run.stage.cost["episodes"] == 8
    assert collected.metrics["pairs"] == 4
    preference_E = collected.batch["preference"].new_zeros(8)
    preference_E[collected.batch["episode"]] = collected.batch["preference"]
    assert (preference_E[:4] < 0).all()  # the loss falls with the teacher's log-prob
    assert torch.allclose(preference_E[4:], -preference_E[:4])
    assert collected.metrics["preference/margin"] == pytest.approx(0.0, abs=1e-5)  # policy and reference are one


@pytest.fixture(scope="module")
def foreign_teacher(tmp_path_factory) -> str:
    """A model with another vocabulary than the student's: single characters."""
    folder = tmp_path_factory.mktemp("foreign")
    tokens = characters(CHATML)
    make_model("gpt2", vocabulary=300).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", ["interpolated", "hybrid", "spin", "dpo"])
def test_a_teacher_with_another_vocabulary_is_refused(built, foreign_teacher, tmp_path, kind):
    config = tiny(objective__kind=kind, teacher__kind="pretrained", teacher__path=foreign_teacher)
    with pytest.raises(UserError, match=r"has another vocabulary \(\d+ tokens, the student 15\).*objective.kind: sft"):
        train(config, tmp_path)


def test_relabelling_by_one_of_another_vocabulary_takes_its_text(built, foreign_teacher, tmp_path):
    """Random characters here, of which the student has no word: they are left out, and reward goes on."""
    settings = {"teacher__kind": "pretrained", "teacher__path": foreign_teacher, "env__horizon": 2}
    rows = []
    relabel = {"objective__distill__kind": "relabel", "rollout__max_action_tokens": 6}
    train(tiny(**relabel, **settings), tmp_path, rows.extend)
    assert [row["relabel/left_out"] for row in rows if row["phase"] == "train"] == [1.0] * 4


def test_sft_learns_from_the_text_of_a_teacher_with_another_vocabulary(built, foreign_teacher, tmp_path):
    settings = {"teacher__kind": "pretrained", "teacher__path": foreign_teacher, "env__horizon": 2}
    run = assemble(tiny(objective__kind="sft", rollout__max_action_tokens=6, **settings), tmp_path, resume=False)
    collected = run.algorithm.collect(run.stage, 0)
    conversation = run.stage.player.conversation
    assert len(conversation.tokenizer) == len(tokenizer())
    for e, outcome in enumerate(collected.outcomes):
        want: list[int] = []
        for k, (observation, action) in enumerate(outcome.transcript):
            want += [*conversation.encode_turn(observation, first=k == 0), *conversation.encode_action(action)]
        length = int(collected.batch.length_S[e])
        assert collected.batch.ids_ST[e, :length].tolist() == want
    assert run.stage.cost["teacher_tokens"] > 0
    assert train(run.config, tmp_path).cost["updates"] == 4
