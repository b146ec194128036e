"""Which metrics there are, their units, and which way is better."""

from __future__ import annotations

import pytest

from atod_sweep.records.metric_names import COSTS, TRAINING, check_name, direction, unit

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
