"""Evaluation: fixed held-out tasks, random numbers of its own, the same result every time."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from small import make_model, tiny, tokenizer

from atod_sweep.config.models import Pretrained
from atod_sweep.config.train import Env, Evaluation, Final
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.records.outcomes import unpack
from atod_sweep.training.loop.trainer import evaluate_model, evaluate_student, train
from atod_sweep.training.models.load import load_model
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import evaluate as evaluation
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import evaluate, evaluate_final, final_sets, held_out_seeds, passes, summary
from atod_sweep.training.play.outcomes import Limits, Outcome
from atod_sweep.training.pretraining.cache import ensure
from atod_sweep.training.pretraining.pretrain import CHECK

SETS = [f"/set{k}" for k in range(4)]


def player(tasks: int) -> Player:
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    return Player(Batch(Env(id="echo_env:Echo", horizon=3), tasks), conversation, Limits(4, 256))


def timeless(row: dict) -> dict:
    """A row without the time that things took."""
    return {key: value for key, value in row.items() if "seconds" not in key}


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
    assert passes(rounds) == pytest.approx({"pass@1": 4 / 9, "pass@3": 2 / 3})


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
    habits = {"eval/action_cut", "eval/action_empty", "eval/token_entropy"}
    assert result.final.keys() == {"eval/success", "eval/reward", "eval/turns", "eval/share"} | habits


# ---- final sets ----------------------------------------------------------------------------------------------------

FINAL = Evaluation(tasks=16, temperature=1.0, final=Final(sets=4, tasks=24))


@pytest.mark.parametrize("seed", [1, 2])
def test_final_sets_share_no_task_with_anything_that_was_looked_at(seed):
    config = Evaluation(seed=seed, tasks=300, final=Final(sets=8, tasks=512))
    sets = final_sets(config)
    assert [len(tasks) for tasks in sets] == [512] * 8
    drawn = {task for tasks in sets for task in tasks}
    assert len(drawn) == 8 * 512  # no two sets share one
    assert all(task in EVAL_SEEDS for task in drawn)
    for watched in (Evaluation(seed=seed, tasks=4096), CHECK):
        assert not drawn & set(held_out_seeds(watched))
    assert final_sets(config.model_copy(update={"final": Final(sets=4, tasks=512)})) == sets[:4]
    assert final_sets(Evaluation(seed=seed)) == []


def test_a_seed_that_is_taken_is_drawn_again(monkeypatch):
    """Of 40 possible seeds, 16 are looked at in training and four sets of 6 take all others."""
    monkeypatch.setattr(evaluation, "EVAL_SEEDS", range(2**30, 2**30 + 40))
    monkeypatch.setattr(evaluation, "WATCHED", 0)
    monkeypatch.setattr(evaluation, "Evaluation", lambda: Evaluation(seed=1, tasks=16))
    sets = final_sets(Evaluation(seed=1, tasks=16, final=Final(sets=4, tasks=6)))
    watched = held_out_seeds(Evaluation(seed=1, tasks=16))
    assert sorted([*watched, *(task for tasks in sets for task in tasks)]) == list(range(2**30, 2**30 + 40))


@pytest.fixture
def student(built):
    """A student that succeeds at some tasks."""
    return Policy(load_model(Pretrained(path=ensure(tiny()).student.path)))


def test_final_metrics_are_means_over_sets_and_every_task_is_kept(student):
    found = evaluate_final(student, player(24), FINAL)
    by_set = [found[f"final/success/set{k}"] for k in range(4)]
    assert found["final/success"] == pytest.approx(sum(by_set) / 4)
    assert len(set(by_set)) > 1
    tasks = unpack(found["final/outcomes"])
    assert [sum(tasks[24 * k : 24 * k + 24]) / 24 for k in range(4)] == pytest.approx(by_set)
    names = {"success", "reward", "turns", "share"}
    assert found.keys() == {"final/outcomes", *(f"final/{n}{s}" for n in names for s in ("", *SETS))}


def test_with_attempts_a_tasks_outcome_is_their_mean(student):
    config = FINAL.model_copy(update={"attempts": 4})
    found = evaluate_final(student, player(24), config)
    assert found["final/pass@1"] == pytest.approx(found["final/success"])
    assert found["final/pass@4/set2"] >= found["final/pass@1/set2"]
    assert {0.25, 0.5, 0.75} & set(unpack(found["final/outcomes"]))
    assert {task * 4 % 1 for task in unpack(found["final/outcomes"])} == {0}


def test_final_sets_change_nothing_of_what_comes_before(built, tmp_path):
    """Rows, weights and results are bit for bit those of a run without, but for the time that things took."""
    runs = {}
    for name, changes in (("without", {}), ("with", {"evaluation__final": {"sets": 4, "tasks": 12}})):
        rows: list = []
        result = train(tiny(**changes), tmp_path / name, rows.extend)
        weights = load_file(tmp_path / name / "student" / "model.safetensors")
        runs[name] = ([timeless(row) for row in rows], weights, result.final)
    (rows, weights, final), (more, same, both) = runs["without"], runs["with"]
    assert more[:-1] == rows
    assert (more[-1]["phase"], more[-1]["step"]) == ("final", 4)
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert {k: v for k, v in both.items() if not k.startswith("final/")} == final
    assert both["final/success/set3"] == more[-1]["final/success/set3"]


def test_teacher_base_student_and_saved_student_play_the_same_final_sets(built, tmp_path):
    config = tiny(steps=2, evaluation__final={"sets": 4, "tasks": 12})
    refs = ensure(config)
    result = train(config, tmp_path)
    saved = evaluate_model(config, tmp_path / "student")
    assert {k: v for k, v in saved.items() if k != "final/outcomes"} == result.final
    base = evaluate_model(config, refs.student.path, "base")
    start = train(tiny(steps=1, optimiser__lr=1e-12, evaluation__final={"sets": 4, "tasks": 12}), tmp_path / "start")
    assert base["final/success"] == start.final["final/success"]
    assert len(unpack(evaluate_model(config, refs.teacher.path)["final/outcomes"])) == 48
    assert not any(key.startswith("final/") for key in evaluate_student(config, tmp_path / "student"))


def test_final_sets_are_later_than_recorded_hashes():
    assert "final" not in Evaluation().model_dump()
    assert Evaluation(final=Final()).model_dump()["final"] == {"sets": 8, "tasks": 512}
    with pytest.raises(ValueError, match="greater than or equal to 4"):
        Final(sets=3)
