"""What a run reports: when, under which keys, and at what cost."""

from __future__ import annotations

import pytest
from small import tiny

from atod_sweep.records.metric_names import COSTS, HABITS, TRAINING, check_name
from atod_sweep.training.loop.books import means
from atod_sweep.training.loop.trainer import train

EVAL = {"eval/success", "eval/reward", "eval/turns", "eval/share", "eval/ended_by_turn", "eval/success_by_turn"}
EVAL |= {"eval/action_cut", "eval/action_empty", "eval/token_entropy"}
SOMETIMES = {name for name in COSTS if name.startswith("cost/teacher_")} - {"cost/teacher_tokens"}
ALWAYS = {"phase", "step", "loss", "grad_norm", "epochs", "lr", "temperature"} | set(COSTS) - SOMETIMES
ALWAYS |= {"seconds/rollout", "seconds/score", "seconds/update"}
ALWAYS |= {"rollout/success", "rollout/reward", "rollout/turns", "rollout/share"}
ALWAYS |= {f"rollout/{habit}" for habit in set(HABITS) - {"action_inadmissible", "action_unmarked"}}
MIXED = {"weight/distill", "weight/reward", "weight/kl", "weight/applied_teacher", "turn_weight", "kl/teacher"}

OBJECTIVES = {
    "interpolated": ({}, MIXED | {"loss/distill", "loss/reward"}, {"distill", "reward"}),
    "hybrid": ({"objective__kind": "hybrid"}, MIXED | {"loss/policy"}, {"distill", "reward"}),
    "gae": (
        {
            "objective__advantage__kind": "gae",
            "objective__kl_penalty__kind": "k3",
            "objective__entropy_coef": 0.01,
            "update__target_kl": 1.0,
        },
        MIXED | {"loss/distill", "loss/reward", "loss/value", "loss/kl", "loss/entropy", "kl/reference", "kl/update"},
        {"distill", "reward", "value", "kl", "entropy"},
    ),
    "takeover": (
        {"rollout__takeover": {"probability": 0.5}, "rollout__depth": {"share": 0.5}},
        MIXED
        | {"loss/distill", "loss/reward", "loss/imitation", "takeover", "depth", "teacher_turns", "episodes_cut"}
        | {"cost/teacher_generated_tokens"},
        {"distill", "reward", "imitation"},
    ),
    "null": (
        {"objective__stand_in": {"kind": "shuffled_teacher"}},
        MIXED | {"loss/distill", "loss/reward", "turns_alone"},
        {"distill", "reward"},
    ),
    "relabel": (
        {"objective__distill__kind": "relabel"},
        MIXED - {"kl/teacher"} | {"loss/distill", "loss/reward", "relabel/same", "relabel/left_out"},
        {"distill", "reward"},
    ),
    "sft": ({"objective__kind": "sft"}, {"loss/sft"}, {"sft"}),
    "dpo": (
        {"objective__kind": "dpo", "steps": 1, "seed": 3},
        {"loss/preference", "pairs", "preference/loss", "preference/margin"},
        {"preference"},
    ),
}


def rows_of(tmp_path, **settings):
    calls: list[list[dict]] = []
    result = train(tiny(**settings), tmp_path, lambda rows: calls.append(list(rows)))
    return calls, result


@pytest.mark.parametrize("name", OBJECTIVES)
def test_keys(built, tmp_path, name):
    settings, keys, norms = OBJECTIVES[name]
    calls, result = rows_of(tmp_path, diagnostics_every=2, **{"steps": 2} | settings)
    first = next(row for call in calls for row in call if row["phase"] == "train")
    assert first.keys() == ALWAYS | keys | {f"grad_norm/{norm}" for norm in norms} | {"lost_updates"}
    lists = {"turn_weight", "phase", "step"}  # what no search can optimise
    assert all(check_name(key) for key in first.keys() - lists)
    last = calls[-1][-1]
    assert last.keys() == {"phase", "step", "seconds/eval"} | EVAL | (set(COSTS) - SOMETIMES) | (keys & SOMETIMES)
    assert result.final == {key: last[key] for key in EVAL if isinstance(last[key], float)}


def test_every_known_name_is_reported_by_some_objective():
    reported = ALWAYS | {"seconds/eval", "lost_updates", "logp_gap"}  # the last: test_optimiser.py
    for _, keys, norms in OBJECTIVES.values():
        reported |= keys | {f"grad_norm/{norm}" for norm in norms}
    assert set(TRAINING) - reported == set()


def test_one_report_per_evaluation_and_the_first_is_the_start(built, tmp_path):
    calls, _ = rows_of(tmp_path, steps=5, evaluation__every=2)
    told = [[(row["phase"], row["step"]) for row in call] for call in calls]
    train_row, eval_row = "train", "eval"
    assert told == [
        [(eval_row, 0)],
        [(train_row, 0), (train_row, 1), (eval_row, 2)],
        [(train_row, 2), (train_row, 3), (eval_row, 4)],
        [(train_row, 4), (eval_row, 5)],
    ]


def test_schedules_reach_the_rows(built, tmp_path):
    """Linear from 0.8 to 0.2 over 4 steps; warm-up over 2 steps; temperature from 1.5 to 1.0 over 2 of 4 steps."""
    weight = {"kind": "linear", "start": 0.8, "end": 0.2, "anneal_steps": 3}
    calls, _ = rows_of(
        tmp_path,
        **{f"objective__distill_weight__{key}": value for key, value in weight.items()},
        rollout__temperature__kind="linear",
        rollout__temperature__start=1.5,
        rollout__temperature__end=1.0,
        rollout__temperature__anneal_fraction=0.5,
    )
    rows = [row for call in calls for row in call if row["phase"] == "train"]
    assert [row["weight/distill"] for row in rows] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert [row["weight/reward"] for row in rows] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [row["lr"] for row in rows] == pytest.approx([0.005, 0.01, 0.01, 0.01])
    assert [row["temperature"] for row in rows] == pytest.approx([1.5, 1.25, 1.0, 1.0])
    assert [("grad_norm/reward" in row) for row in rows] == [True, False, False, True]  # diagnostics_every = 3


def test_costs_are_cumulative_and_add_up(built, tmp_path):
    """8 episodes a step; evaluation costs seconds and nothing else, because every arm has the same."""
    calls, result = rows_of(tmp_path)
    rows = [row for call in calls for row in call if row["phase"] == "train"]
    assert [row["cost/episodes"] for row in rows] == [8, 16, 24, 32]
    assert [row["cost/updates"] for row in rows] == [1, 2, 3, 4]
    steps = [round(row["rollout/turns"] * 8) for row in rows]
    assert [row["cost/env_steps"] for row in rows] == [sum(steps[: i + 1]) for i in range(4)]
    assert [row["cost/teacher_tokens"] for row in rows] == [row["cost/tokens"] for row in rows]  # scored once each
    assert all(row["cost/generated_tokens"] < row["cost/tokens"] for row in rows)
    assert result.cost["episodes"] == 32
    seconds = [row["cost/seconds"] for call in calls for row in call]
    assert seconds == sorted(seconds)
    assert result.cost["seconds"] == seconds[-1]


def test_no_teacher_no_bill(built, tmp_path):
    calls, result = rows_of(tmp_path, objective__distill_weight=0.0, teacher__kind="none", steps=1)
    assert result.cost.get("teacher_tokens", 0) == 0
    row = calls[-1][0]
    assert "loss/distill" not in row
    assert "kl/teacher" not in row
    assert row["weight/applied_teacher"] == 0.0


def test_metrics_of_several_processes_become_one_row():
    """Absent in one process, None in a list (a turn that nobody played), equal everywhere."""
    found = means(
        [
            {"a": 1.0, "turns": [0.5, None, None], "epochs": 2, "only": 3.0},
            {"a": 2.0, "turns": [1.0, 0.2, None], "epochs": 2},
        ]
    )
    assert found == {"a": 1.5, "turns": [0.75, 0.2, None], "epochs": 2, "only": 3.0}
    assert means([found]) is found
