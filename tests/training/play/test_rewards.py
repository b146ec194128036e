"""Rewards other than the environment's: what they pay and when, and how they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny, tokenizer
from transformers import LlamaConfig, LlamaForSequenceClassification

from atod_sweep.config.custom import check_sources, named_in
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.records.status import Status
from atod_sweep.training.failures import RewardFailed
from atod_sweep.training.loop.trainer import evaluate_model, train
from atod_sweep.training.play.evaluate import summary
from atod_sweep.training.play.outcomes import Act, Outcome
from atod_sweep.training.play.rewards import StandIn, stand_in
from atod_sweep.training.pretraining.preferences import agreement, ensure_rater

CPU = torch.device("cpu")
SHORT = {"kind": "function", "path": "own_rewards:short"}
LINEAR = {"kind": "linear", "start": 0.0, "end": 1.0, "anneal_fraction": 1.0}


def rewarded(reward: dict[str, Any], **more: Any) -> Train:
    return tiny(reward=reward, **more)


def two() -> list[Outcome]:
    """An episode of two turns in which two words are said, and one of a turn that says bye."""
    acts = [Act(1, 0.0, False, marked=marked) for marked in (False, True)]
    one = Outcome(7, [0.25, 0.5], 1.0, {"violations": 3.0}, transcript=[("red", "one"), ("so red", "two")], acts=acts)
    return [one, Outcome(8, [1.0], 0.0, {"violations": 0.0}, transcript=[("red", "bye")], acts=acts[1:], last="blue")]


@pytest.mark.parametrize(
    ("reward", "step", "paid"),
    [
        (SHORT, 0, [[0.0, -2.0], [9.0]]),
        ({"kind": "violations"}, 0, [[0.0, -3.0], [0.0]]),
        ({"kind": "mix", "parts": [{"reward": {"kind": "env"}}, {"reward": SHORT, "weight": -0.5}]}, 0,
         [[0.25, 1.5], [-3.5]]),
        ({"kind": "mix", "parts": [{"reward": {"kind": "env"}}, {"reward": SHORT, "weight": LINEAR}]}, 0,
         [[0.25, 0.5], [1.0]]),
        ({"kind": "mix", "parts": [{"reward": {"kind": "env"}}, {"reward": SHORT, "weight": LINEAR}]}, 2,
         [[0.25, -0.5], [5.5]]),
        ({"kind": "mix", "parts": [{"reward": {"kind": "env"}}, {"reward": SHORT, "weight": LINEAR}]}, None,
         [[0.25, -1.0], [7.75]]),
    ],
)  # fmt: skip
def test_what_is_paid_comes_with_the_last_turn_by_the_weights_of_the_step(reward, step, paid):
    outcomes = two()
    StandIn(rewarded(reward), CPU, 0.0).apply(outcomes, step)  # of four steps
    assert [outcome.signal for outcome in outcomes] == paid
    assert [outcome.total for outcome in outcomes] == [sum(turns) for turns in paid]
    assert [outcome.reward for outcome in outcomes] == [0.75, 1.0]
    found = summary(outcomes)
    assert (found["reward"], found["proxy"]) == (0.875, sum(map(sum, paid)) / 2)


def test_a_missing_mark_costs_the_same_as_ever():
    outcomes = two()
    StandIn(rewarded(SHORT), CPU, 0.1).apply(outcomes, 0)
    assert outcomes[0].signal == [-0.1, -2.0]
    mixed = two()
    StandIn(rewarded({"kind": "mix", "parts": [{"reward": {"kind": "env"}}]}), CPU, 0.1).apply(mixed, 0)
    assert mixed[0].signal == [0.25, 0.5]  # the environment's have been charged


def test_a_conversation_ends_with_the_environments_last_word():
    assert two()[1].messages == [
        {"role": "user", "content": "red"},
        {"role": "assistant", "content": "bye"},
        {"role": "user", "content": "blue"},
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lost", r"own_rewards:lost' gave nan for the episode of task seed 7"),
        ("wordy", "gave 'very good' for the episode"),
        ("raises", "raised ConnectionError: the judge is asleep on the episode of task seed 7"),
        ("hangs", r"took longer than reward.timeout = 0.1 s"),
        ("leaves", r"raised RuntimeError: SystemExit\(3\)"),
    ],
)
def test_whatever_a_function_does_wrong_is_a_failure_with_a_name(name, said):
    judge = StandIn(rewarded({"kind": "function", "path": f"own_rewards:{name}", "timeout": 0.1}), CPU, 0.0)
    with pytest.raises(RewardFailed, match=said) as caught:
        judge.apply(two(), 0)
    assert caught.value.status is Status.REWARD_FAILED


def test_what_is_no_function_is_refused_when_the_file_is_read():
    with pytest.raises(UserError, match="no function 'long'"):
        rewarded({"kind": "function", "path": "own_rewards:long"})
    with pytest.raises(UserError, match=r"parts.0.reward: path: 'x:y' stands without"):
        check_sources({"parts": [{"reward": {"kind": "function", "path": "x:y"}}]}, "parts.0.reward")
    assert named_in({"reward": {"parts": [{"reward": SHORT}]}}) == ["own_rewards:short"]
    with pytest.raises(UserError, match=r"reports none; let its step\(\) return info\[.violations.\]"):
        StandIn(rewarded({"kind": "violations"}), CPU, 0.0).apply([Outcome(1, [1.0])], 0)


# ---- models --------------------------------------------------------------------------------------------------------


@pytest.fixture
def classifier(tmp_path):
    def make(labels: int, broken: bool = False) -> str:
        torch.manual_seed(labels)
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = LlamaConfig(vocab_size=15, pad_token_id=0, num_labels=labels, max_position_embeddings=64, **sizes)
        model = LlamaForSequenceClassification(config)
        if broken:
            torch.nn.init.constant_(model.score.weight, torch.nan)
        model.save_pretrained(tmp_path / str(labels))
        tokenizer().save_pretrained(tmp_path / str(labels))
        return str(tmp_path / str(labels))

    return make


def test_a_model_reads_the_whole_conversation_whatever_lies_beside_it_in_the_batch(classifier):
    path = classifier(1)
    outcomes, alone = two(), two()
    StandIn(rewarded({"kind": "model", "path": path}), CPU, 0.0).apply(outcomes, 0)
    StandIn(rewarded({"kind": "model", "path": path, "batch": 1}), CPU, 0.0).apply(alone, 0)
    assert [o.total for o in outcomes] == pytest.approx([o.total for o in alone], abs=1e-6)
    model, text = LlamaForSequenceClassification.from_pretrained(path), "<obs> red <act> bye <end> <obs> blue <act>"
    ids = tokenizer()(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert outcomes[1].total == pytest.approx(float(model(input_ids=ids).logits[0, 0]), abs=1e-5)


def test_of_several_labels_one_is_the_good_one(classifier):
    path = classifier(2)
    with pytest.raises(UserError, match="has 2 labels; say which is the good one, 0 to 1"):
        StandIn(rewarded({"kind": "model", "path": path}), CPU, 0.0).apply(two(), 0)
    totals = []
    for label in (0, 1):
        outcomes = two()
        StandIn(rewarded({"kind": "model", "path": path, "label": label}), CPU, 0.0).apply(outcomes, 0)
        totals.append(outcomes[0].total)
    assert totals[0] == pytest.approx(-totals[1])


def test_a_model_that_is_missing_or_gives_no_number_is_a_failure_with_a_name(classifier, tmp_path):
    with pytest.raises(RewardFailed, match="does not exist; give a directory or a hub id"):
        stand_in(rewarded({"kind": "model", "path": f"{tmp_path}/nowhere"}), CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RewardFailed, match="cannot be loaded as a sequence classifier"):
        stand_in(rewarded({"kind": "model", "path": f"{tmp_path}/empty"}), CPU)
    with pytest.raises(RewardFailed, match="gave nan for the episode of task seed 7"):
        StandIn(rewarded({"kind": "model", "path": classifier(1, broken=True)}), CPU, 0.0).apply(two(), 0)


PREFERENCES = {"kind": "preferences", "taste": {"turns": 1.0}, "pairs": 512, "noise": 0.05, "hidden": 16, "lr": 0.01}


def test_a_classifier_learns_what_raters_like_and_is_cached():
    config = rewarded(PREFERENCES)
    path = ensure_rater(config.reward, config)
    assert agreement(Path(path)) > 0.75
    before = Path(path).stat().st_mtime_ns
    assert ensure_rater(config.reward.model_copy(update={"batch": 7}), config) == path
    assert Path(path).stat().st_mtime_ns == before
    good, bad = two()
    good.transcript, bad.transcript = [("red", "one")] * 3, [("red", "one")]
    good.rewards, bad.rewards = [0.0] * 3, [0.0]
    StandIn(config, CPU, 0.0).apply([good, bad], 0)
    assert good.total > bad.total
    with pytest.raises(UserError, match=r"reward.taste: 'beauty' is nothing that raters see; they see success, reward"):
        ensure_rater(config.reward.model_copy(update={"taste": {"beauty": 1.0}}), config)


# ---- through a training --------------------------------------------------------------------------------------------


def test_training_follows_the_stand_in_and_evaluations_tell_both(built, tmp_path):
    plain, rows = [], []
    train(tiny(steps=2), tmp_path / "plain", plain.extend)
    train(rewarded(SHORT, steps=2), tmp_path / "other", rows.extend)
    start, end = (next(row for row in several if row["phase"] == "eval") for several in (plain, rows))
    assert end.pop("eval/proxy") < 9
    same = {key for key in start if key.startswith("eval/")}
    assert {key: end[key] for key in same} == {key: start[key] for key in same}
    first, other = (next(row for row in several if row["phase"] == "train") for several in (plain, rows))
    assert other["rollout/reward"] == first["rollout/reward"]
    assert "rollout/proxy" in other
    assert "rollout/proxy" not in first
    assert rows[-1]["eval/success"] != plain[-1]["eval/success"] or rows[-1]["loss"] != plain[-1].get("loss")
    base = evaluate_model(rewarded(SHORT), built.student.path, "base")
    assert base["eval/proxy"] == next(row for row in rows if row["phase"] == "eval").get(
        "eval/proxy", base["eval/proxy"]
    )


def test_a_failing_reward_ends_the_training_before_its_first_step(built, tmp_path):
    rows: list = []
    with pytest.raises(RewardFailed):
        train(rewarded({"kind": "function", "path": "own_rewards:lost"}), tmp_path, rows.extend)
    assert rows == []
