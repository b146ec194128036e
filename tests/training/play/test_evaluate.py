"""Evaluation: fixed held-out tasks, random numbers of its own, the same result every time."""

from __future__ import annotations

import pytest
import torch
from small import make_model, tiny, tokenizer

from atod_sweep.config.train import Env, Evaluation
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.training.loop.trainer import evaluate_model, train
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import evaluate, held_out_seeds, passes, summary
from atod_sweep.training.play.outcomes import Limits, Outcome


def player(tasks: int) -> Player:
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    return Player(Batch(Env(id="echo_env:Echo", horizon=3), tasks), conversation, Limits(4, 256))


def test_held_out_tasks():
    seeds = held_out_seeds(Evaluation(tasks=300))
    assert len(set(seeds)) == 300
    assert all(seed in EVAL_SEEDS for seed in seeds)
    assert held_out_seeds(Evaluation(tasks=300, temperature=0.0, every=3)) == seeds
    assert held_out_seeds(Evaluation(tasks=400))[:300] == seeds
    assert not set(held_out_seeds(Evaluation(tasks=300, seed=2))) & set(seeds)


def test_the_same_numbers_twice_and_nobody_else_disturbed():
    policy, mine = Policy(make_model("llama")), player(32)
    policy.train()
    config = Evaluation(tasks=32, temperature=1.0)
    state = torch.get_rng_state()
    first = evaluate(policy, mine, config)
    torch.rand(3)
    assert evaluate(policy, mine, config) == first
    assert evaluate(policy, player(64), config) == first
    torch.set_rng_state(state)
    evaluate(policy, mine, config)
    assert torch.equal(torch.get_rng_state(), state)
    assert policy.training
    assert evaluate(policy, mine, Evaluation(tasks=32, temperature=1.0, seed=2)) != first


def test_tasks_are_those_of_the_evaluation_split():
    mine, seen = player(4), []
    reset = mine.batch.reset
    mine.batch.reset = lambda seeds, split: seen.append((seeds, split)) or reset(seeds, split)
    config = Evaluation(tasks=4, temperature=0.0)
    evaluate(Policy(make_model("llama")), mine, config)
    assert seen == [(held_out_seeds(config), "eval")]


def test_summary_by_hand():
    """Metrics are means over the episodes that report them."""
    found = summary(
        [
            Outcome(0, rewards=[0.0, 1.0], success=1.0, metrics={"f1": 0.5}),
            Outcome(1, rewards=[0.25], success=0.0, metrics={"f1": 0.25, "other": 3.0}),
        ]
    )
    assert found == {"success": 0.5, "reward": 0.625, "turns": 1.5, "f1": 0.375, "other": 3.0}


def test_passes_by_hand():
    """Three tasks, three attempts: 3, 1 and 0 passed. pass@1 is (1 + 1/3 + 0) / 3, pass@3 is 2 tasks of 3."""
    results = [[1.0, 0.0, 0.0], [1.0, 1.0, 0.5], [1.0, 0.0, 0.0]]
    rounds = [[Outcome(seed, success=success) for seed, success in enumerate(row)] for row in results]
    assert passes(rounds) == pytest.approx({"eval/pass@1": 4 / 9, "eval/pass@3": 2 / 3})


def test_attempts_are_further_episodes_of_the_same_tasks():
    policy = Policy(make_model("llama"))
    once = evaluate(policy, player(16), Evaluation(tasks=16, temperature=1.0))
    found = evaluate(policy, player(16), Evaluation(tasks=16, temperature=1.0, attempts=10))
    assert sum(found["eval/ended_by_turn"]) == 160
    assert found["eval/pass@1"] == pytest.approx(found["eval/success"])
    assert found["eval/pass@1"] <= found["eval/pass@10"] <= 1
    assert "eval/pass@1" not in once


def test_where_episodes_end():
    """Echo ends after turn 1 + seed % 5, by "bye", or at the horizon of 3."""
    config = Evaluation(tasks=64, temperature=1.0)
    found = evaluate(Policy(make_model("llama")), player(64), config)
    assert sum(found["eval/ended_by_turn"]) == 64
    assert len(found["eval/ended_by_turn"]) == 3
    assert sum(found["eval/success_by_turn"]) == found["eval/success"] * 64
    turns = sum((k + 1) * n for k, n in enumerate(found["eval/ended_by_turn"])) / 64
    assert found["eval/turns"] == pytest.approx(turns)


def test_a_saved_student_scores_as_it_did_at_the_end_of_its_run(built, tmp_path):
    result = train(tiny(steps=2), tmp_path)
    assert evaluate_model(tiny(steps=2), tmp_path / "student") == result.final
    assert result.final.keys() == {"eval/success", "eval/reward", "eval/turns", "eval/share"}
