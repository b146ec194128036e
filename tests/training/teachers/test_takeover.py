"""Who plays a turn: drawn by step, episode and turn, from a stream that nothing else draws from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import tiny

from atod_sweep.config.base import content_hash
from atod_sweep.errors import UserError
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.teachers.local import LocalTeacher
from atod_sweep.training.teachers.takeover import Turns

LINE = {"kind": "linear", "start": 0.0, "end": 1.0, "anneal_fraction": 1.0}


def turns(rank: int = 0, **rollout: Any) -> Turns:
    settings = {f"rollout__{key}": value for key, value in rollout.items()}
    return Turns(tiny(steps=10, env__horizon=4, **settings), None, rank)


def taken(step: int, episodes: int, rank: int = 0, **rollout: Any) -> np.ndarray[Any, Any]:
    wheel = turns(rank, **rollout).wheel(step, episodes, 1.0, torch.device("cpu"))
    assert wheel is not None
    return wheel.taken_EK


def test_the_chance_follows_the_step_and_the_turn() -> None:
    profile = {"kind": "thresholds", "early": 1.0, "late": 0.5, "early_turns": 2, "late_turns": 2}
    given = {"probability": LINE, "turns": profile}
    assert turns(takeover=given).told(5) == {"takeover": 0.5}
    shares_K = taken(5, 20_000, takeover=given).mean(0)
    assert shares_K == pytest.approx([0.5, 0.5, 0.25, 0.25], abs=5 * 0.5 / 20_000**0.5)
    assert not taken(0, 100, takeover=given).any()
    assert taken(9, 100, takeover={"probability": 1.0}).all()


def test_draws_belong_to_the_episode_and_the_turn() -> None:
    """More episodes, a higher chance or another step leave nothing else moved; every process has its own."""
    half = {"probability": 0.5}
    assert (taken(3, 50, takeover=half)[:20] == taken(3, 20, takeover=half)).all()
    assert (taken(3, 50, takeover=half) <= taken(3, 50, takeover={"probability": 0.7})).all()
    assert (taken(3, 50, takeover=half) != taken(4, 50, takeover=half)).any()
    assert (taken(3, 50, takeover=half) != taken(3, 50, rank=1, takeover=half)).any()


@pytest.mark.parametrize(
    ("step", "first", "last"),
    [(0, 1, [1, 1, 1, 0]), (3, 2, [1, 1, 0, 0]), (4, 2, [1, 1, 0, 0]), (5, 3, [1, 0, 0, 0]), (9, 4, [0, 0, 0, 0])],
)
def test_depth_from_the_start_and_from_the_end(step: int, first: int, last: list[int]) -> None:
    """Of a horizon of four, 0.1, 0.37, 0.46, 0.55 and 0.91: turns are counted up."""
    share = {"kind": "linear", "start": 0.1, "end": 1.0, "anneal_fraction": 1.0}
    start = turns(depth={"share": share}).wheel(step, 1, 1.0, torch.device("cpu"))
    assert start is not None
    assert (start.depth, start.taken_EK.any()) == (first, False)
    end = turns(depth={"share": share, "from": "end"}).wheel(step, 1, 1.0, torch.device("cpu"))
    assert end is not None
    assert (end.depth, end.taken_EK[0].tolist()) == (None, [bool(x) for x in last])


def rows_of(folder: Path, **overrides: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    train(tiny(steps=2, **overrides), folder, rows.extend)
    return rows


def test_a_trial_in_which_the_teacher_plays_reports_it_and_evaluates_alone(
    built: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, really = [], LocalTeacher.act
    monkeypatch.setattr(
        LocalTeacher, "act", lambda self, states, *how: asked.append(len(states)) or really(self, states, *how)
    )
    rows = rows_of(tmp_path / "all", rollout__takeover={"probability": 1.0}, rollout__depth={"share": 0.5})
    trained = [row for row in rows if row["phase"] == "train"]
    assert len(asked) == 2 * 2  # two steps of two turns each; none in three evaluations
    assert [(row["takeover"], row["depth"], row["teacher_turns"]) for row in trained] == [(1.0, 2, 1.0)] * 2
    assert all(row["loss"] == row["loss/imitation"] for row in trained)
    assert trained[-1]["cost/generated_tokens"] == 0 < trained[-1]["cost/teacher_generated_tokens"]
    assert 0.0 < trained[0]["episodes_cut"] <= 1.0
    plain = rows_of(tmp_path / "none")
    assert rows[0]["eval/success"] == plain[0]["eval/success"]
    assert not {"takeover", "depth", "teacher_turns", "episodes_cut", "cost/teacher_generated_tokens"} & plain[1].keys()


def test_tasks_are_those_of_a_trial_without(built: object, tmp_path: Path) -> None:
    def seeds(**settings: Any) -> list[list[int]]:
        stage = assemble(tiny(**settings), tmp_path / str(len(settings)), resume=False).stage
        return [[outcome.seed for outcome in stage.play(stage.policy, step).outcomes] for step in range(2)]

    assert seeds() == seeds(rollout__takeover={"probability": 0.5})


def test_episodes_played_at_a_time_change_nothing(built: object, tmp_path: Path) -> None:
    def ids(most: int | None) -> torch.Tensor:
        config = tiny(rollout__takeover={"probability": 0.5}, rollout__episodes_at_once=most)
        stage = assemble(config, tmp_path / str(most), resume=False).stage
        return stage.play(stage.policy, 0).ids_ST

    assert torch.equal(ids(None), ids(3))


def test_absent_sections_change_no_hash() -> None:
    plain = tiny().model_dump(mode="json")
    assert not {"takeover", "depth", "teacher_turns"} & plain["rollout"].keys()
    assert content_hash(tiny(rollout__depth={}).model_dump(mode="json")) != content_hash(plain)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"rollout__takeover": {"probability": 1.2}},
            "takeover.probability: must be from 0 to 1 at every step, got 1.2",
        ),
        ({"rollout__depth": {"share": 0.0}}, "depth.share: must be above 0 and at most 1 at every step, got 0.0"),
        ({"rollout__depth": {"from": "middle"}}, "depth.from: unknown value 'middle'; known: start, end"),
        ({"rollout__takeover": {"turns": {"kind": "t_dur"}}}, "takeover.turns.kind: 't_dur' weighs by log-probs"),
        ({"rollout__takeover": {}, "objective__kind": "sft"}, "rollout.takeover: is for objectives .* 'sft' does not"),
        ({"rollout__depth": {}, "objective__kind": "dpo"}, "rollout.depth: is for objectives .* 'dpo' does not"),
        (
            {"rollout__depth": {"from": "end"}, "teacher__kind": "none", "objective__distill_weight": 0},
            "rollout.depth: lets the teacher play, and teacher.kind is 'none'",
        ),
        (
            {"rollout__takeover": {}, "objective__stand_in": {"kind": "random_teacher"}},
            "objective.stand_in has 'random_teacher'; drop one",
        ),
        ({"rollout__teacher_turns": "masked"}, "teacher_turns: 'masked', but the teacher plays no turns"),
        (
            {"rollout__takeover": {}, "rollout__teacher_turns": "forward_kl", "objective__distill__kind": "relabel"},
            "teacher_turns: 'forward_kl' compares distributions, which teacher.kind 'compact' is not asked for",
        ),
        (
            {"rollout__takeover": {"turns": {"kind": "thresholds", "early_turns": 5}}},
            "rollout.takeover.turns.early_turns: 5 turns lie beyond the horizon of 3",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        tiny(**given)
