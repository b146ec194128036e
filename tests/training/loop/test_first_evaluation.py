"""The evaluation before training is played once for all trials that start from one student."""

from __future__ import annotations

import pytest
import torch
from small import tiny

from atod_sweep.training.loop import first_evaluation as first
from atod_sweep.training.loop.trainer import train

CPU = torch.device("cpu")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def plays(config, times=1):
    """How often the evaluation was played, and what it came to."""
    played = []

    def play():
        played.append(1)
        return {"eval/success": 0.1 + 0.2, "eval/ended_by_turn": [1, 2]}

    found = [first.first_evaluation(config, CPU, play) for _ in range(times)]
    assert all(one == found[0] for one in found)
    return len(played), found[0]


def test_it_is_played_once_and_kept_digit_for_digit(own_cache):
    assert plays(tiny(), 3) == (1, {"eval/success": 0.30000000000000004, "eval/ended_by_turn": [1, 2]})


@pytest.mark.parametrize(
    "change",
    [
        {"objective__distill_weight": 0.5}, {"optimiser__lr": 0.5}, {"seed": 7}, {"steps": 9},
        {"evaluation__every": 3},
    ],
)  # fmt: skip
def test_what_comes_later_does_not_bear_on_it(own_cache, change):
    plays(tiny())
    assert plays(tiny(**change))[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"evaluation__tasks": 3}, {"evaluation__seed": 3}, {"evaluation__temperature": 0.9}, {"env__horizon": 5},
        {"rollout__max_action_tokens": 5}, {"runtime__threads": 2}, {"student__recipe__seed": 3},
    ],
)  # fmt: skip
def test_what_bears_on_it_makes_another(own_cache, change):
    plays(tiny())
    assert plays(tiny(**change))[0] == 1


def test_a_model_that_was_given_shares_nothing(own_cache):
    config = tiny(student={"kind": "pretrained", "path": "./here"})
    assert plays(config, 2)[0] == 2


def test_what_is_damaged_is_played_again(own_cache):
    plays(tiny())
    (kept,) = (own_cache / "evaluations").glob("*.json")
    for text in ('{"eval/succ', "[]", "{}", ""):
        kept.write_text(text)
        assert plays(tiny(), 2)[0] == 1


def test_a_cache_that_cannot_be_written_shares_nothing(tmp_path, monkeypatch):
    (tmp_path / "evaluations").write_text("")
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    assert plays(tiny(), 2)[0] == 2


def test_a_trial_that_finds_it_trains_as_one_that_played(built, tmp_path, monkeypatch):
    rows: list[list] = [[], []]
    train(tiny(), tmp_path / "a", rows[0].extend)
    monkeypatch.setattr(first, "_kept", lambda path: None)
    train(tiny(), tmp_path / "b", rows[1].extend)
    plain = [[{k: v for k, v in row.items() if "seconds" not in k} for row in one] for one in rows]
    assert plain[0] == plain[1]
