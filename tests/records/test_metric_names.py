"""Which metrics there are, their units, and which way is better."""

from __future__ import annotations

import pytest

from atod_sweep.records.metric_names import COSTS, TRAINING, check_name, check_reported, direction, loss_of, unit

DIRECTIONS = {
    "eval/success": "max",
    "eval/reward": "max",
    "eval/f1": "max",
    "eval/pass@10": "max",
    "eval/tool_accuracy": "max",
    "eval/turns": "min",
    "eval/invalid_actions": "min",
    "eval/seconds_per_task": "min",
    "rollout/success": "max",
    "rollout/turns": "min",
    "cost/env_steps": "min",
    "cost/seconds": "min",
    "loss": "min",
    "loss/distill": "min",
    "kl/teacher": "min",
    "kl/reference": "min",
    "seconds/rollout": "min",
    "preference/margin": "max",
    "preference/loss": "min",
    "lr": None,
    "temperature": None,
    "grad_norm/reward": None,
    "weight/distill": None,
}


@pytest.mark.parametrize(("name", "better"), DIRECTIONS.items())
def test_which_way_is_better(name, better):
    assert direction(name) == better


def test_every_cost_is_to_be_spared_and_has_a_unit():
    assert {direction(name) for name in COSTS} == {"min"}
    assert all(unit(name) for name in COSTS)


def test_every_diagnostic_is_known_to_both():
    for name in TRAINING:
        assert direction(name) in ("max", "min", None)
        assert isinstance(unit(name), str)


@pytest.mark.parametrize(
    ("name", "want"),
    [("eval/success", "share"), ("eval/turns", "turns"), ("kl/teacher", "nats"), ("cost/seconds", "s"), ("lr", "")],
)
def test_units(name, want):
    assert unit(name) == want


@pytest.mark.parametrize("ask", [check_name, direction, unit])
def test_a_name_that_no_trial_reports_is_refused(ask):
    with pytest.raises(ValueError, match="no trial reports 'kl/techer'; did you mean 'kl/teacher'"):
        ask("kl/techer")


@pytest.mark.parametrize(
    ("name", "attempts", "said"),
    [
        ("eval/success", 1, ""),
        ("final/f1", 1, ""),
        ("final/f1/set3", 1, ""),
        ("rollout/reward", 1, ""),
        ("eval/pass@1", 4, ""),
        ("eval/pass@4", 4, ""),
        ("kl/teacher", 1, ""),
        ("eval/sucess", 1, "no trial reports 'eval/sucess'; did you mean 'eval/success'? known: eval/success, eval/"),
        ("final/f2", 1, "no trial reports 'final/f2'; did you mean 'final/f1'?"),
        ("eval/@@@", 1, "no trial reports 'eval/@@@'; "),
        ("eval/pass@4", 1, "no trial reports 'eval/pass@4' with evaluation.attempts: 1; set it to 4"),
        ("eval/pass@4", 8, "no trial reports 'eval/pass@4' with evaluation.attempts: 8; set it to 4"),
        ("rollout/pass@4", 4, "no trial reports 'rollout/pass@4'; "),
        ("eval/ended_by_turn", 1, "no trial reports 'eval/ended_by_turn'"),
        ("eval/", 1, "no trial reports 'eval/'"),
    ],
)
def test_what_evaluations_report(name, attempts, said):
    if not said:
        check_reported(name, ["f1"], attempts)
        return
    with pytest.raises(ValueError, match=r"no trial reports") as caught:
        check_reported(name, ["f1"], attempts)
    assert str(caught.value).startswith(said)


def test_an_environment_s_own_pass_at_1_needs_no_attempts():
    check_reported("eval/pass@1", ["pass@1"], 1)
    with pytest.raises(ValueError, match="known: eval/success"):
        check_reported("eval/pass@1", [], 1)


def test_a_new_loss_term_has_a_line_in_the_table() -> None:
    assert loss_of("sft") == "loss/sft"
    assert unit(loss_of("sft")) == "nats"
    with pytest.raises(TypeError, match=r"no line for the loss term 'rft' in records/metric_names\.TERMS"):
        loss_of("rft")
