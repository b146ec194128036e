"""Early stopping: never before the grace step, only among trials of one seed, at equal environment steps."""

from __future__ import annotations

import pytest

from atod_sweep.config.search import ASHA, Median, Objective
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.stopping import StoppingRule, grace_step
from benchmarks.regret import Recorded, regret

SUCCESS = Objective(name="eval/success")


def config(seed=0, steps=100, **changes):
    return Train.model_validate({"steps": steps, "seed": seed, **changes}).model_dump(mode="json")


def row(step, value, env_steps=None):
    return {
        "phase": "eval",
        "step": step,
        "eval/success": value,
        "cost/env_steps": 10.0 * step if env_steps is None else env_steps,
    }


def weight(**schedule):
    return {"objective": {"kind": "interpolated", "distill_weight": schedule}}


@pytest.mark.parametrize(
    ("schedule", "fraction", "step"),
    [
        ({"kind": "linear", "anneal_fraction": 0.5, "hold_fraction": 0.1}, None, 60),
        ({"kind": "cosine", "anneal_steps": 45}, None, 45),
        ({"kind": "cosine", "anneal_fraction": 0.2}, None, 100 / 3),  # never before a third of the run
        ({"kind": "linear", "anneal_fraction": 0.9, "hold_fraction": 0.5}, None, 100),
        ({"kind": "constant"}, None, 100 / 3),
        ({"kind": "step", "boundaries": [0.2, 0.7], "values": [1, 0.5, 0]}, None, 70),
        ({"kind": "exponential", "anneal_fraction": 0.8}, None, 80),
        ({"kind": "piecewise", "boundaries": [0.2, 0.7], "values": [1, 0.5, 0]}, None, 70),
        ({"kind": "custom", "path": "own_ideas:root", "anneal_steps": 80}, None, 80),
        ({"kind": "adaptive"}, None, 100),
        ({"kind": "adaptive"}, 0.25, 25),  # the documented override
    ],
)
def test_grace_lasts_until_the_teacher_weight_has_decayed(schedule, fraction, step):
    assert grace_step(config(**weight(**schedule)), fraction) == pytest.approx(step)


def fill(rule, values, steps=(0, 25, 50, 75), seed=0):
    for name, value in values.items():
        for step in steps:
            rule.add(name, config(seed), [row(step, value)])


def test_the_median_rule_stops_what_is_below_the_median_after_grace():
    rule = StoppingRule(Median(grace=0.5, peers=3), SUCCESS)
    fill(rule, {"a": 0.2, "b": 0.4, "c": 0.6})
    assert not rule.add("x", config(), [row(25, 0.0)])  # before grace
    assert rule.add("x", config(), [row(50, 0.39)])
    assert not rule.add("y", config(), [row(50, 0.40)])  # the median itself may go on
    assert not rule.add("z", config(), [row(100, 0.0)])  # its last evaluation: nothing is left to save


def test_peers_share_the_seed_and_must_have_come_as_far():
    rule = StoppingRule(Median(grace=0.5, peers=3), SUCCESS)
    fill(rule, {"a": 0.6, "b": 0.6}, seed=0)
    fill(rule, {"c": 0.6, "d": 0.6, "e": 0.6}, seed=1)
    fill(rule, {"f": 0.6}, steps=(0, 25), seed=0)
    assert not rule.add("x", config(seed=0), [row(50, 0.1)])  # only a and b count
    assert rule.add("y", config(seed=1), [row(50, 0.1)])


def test_trials_are_compared_at_equal_environment_steps():
    rule = StoppingRule(Median(grace=0.5, peers=1), SUCCESS)
    for step, value in ((0, 0.0), (50, 0.5), (75, 1.0)):
        rule.add("a", config(), [row(step, value)])  # 500 environment steps at 0.5, 750 at 1.0
    # 600 environment steps: the peer is at 0.5 + 0.5 * 100 / 250 = 0.7 there
    assert rule.add("x", config(), [row(50, 0.69, env_steps=600.0)])
    assert not rule.add("y", config(), [row(50, 0.71, env_steps=600.0)])


def test_small_is_good_if_the_mode_says_so():
    rule = StoppingRule(Median(grace=0.5, peers=1), Objective(name="eval/success", mode="min"))
    fill(rule, {"a": 0.5})
    assert rule.add("x", config(), [row(50, 0.6)])
    assert not rule.add("y", config(), [row(50, 0.4)])


def test_asha_lets_the_best_third_pass_each_rung_once():
    rule = StoppingRule(ASHA(grace=0.25, reduction=3), SUCCESS)
    stops = {}
    for name, value in {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.45, "e": 0.6, "f": 0.55}.items():
        stops[name] = rule.add(name, config(), [row(25, value)])
    # a, b: too few to judge. c: third of three. d: 4 // 3 = 1 passes, it is second. e: best. f: 6 // 3 = 2 pass.
    assert stops == {"a": False, "b": False, "c": True, "d": True, "e": False, "f": False}
    assert not rule.add("a", config(), [row(50, 0.0)])  # between the rungs at 25 and 75
    rule.add("e", config(), [row(75, 0.6)])
    rule.add("f", config(), [row(75, 0.7)])
    assert rule.add("a", config(), [row(75, 0.1)])


def test_rungs_count_alike_whether_rows_come_one_by_one_or_all_at_once_on_resume():
    rows = [row(step, 0.5) for step in (5, 10, 20, 30, 40)]
    stops = []
    for parts in ([[one] for one in rows], [rows]):
        rule = StoppingRule(ASHA(grace=0.1, reduction=3), SUCCESS)
        for part in parts:
            rule.add("x", config(), part)
        for better in "abc":
            rule.add(better, config(), [row(50, 0.9), row(90, 0.9)])
        stops.append([rule.add("x", config(), [row(step, 0.1)]) for step in (50, 90)])
    assert stops == [[False, True]] * 2  # rungs at 10, 30 and 90: none between


def recorded(name, values, seed=0):
    rows = [row(step, value) for step, value in zip((0, 25, 50, 75, 100), values, strict=True)]
    return Recorded(f"{name}-s{seed}", name, seed, config(seed), rows, values[-1])


LATE = (0.1, 0.1, 0.2, 0.5, 0.9)
EARLY = (0.1, 0.4, 0.5, 0.5, 0.5)


def test_how_often_a_rule_would_drop_the_eventual_best_and_what_that_costs():
    trials = [recorded("late", LATE), *(recorded(f"early{i}", EARLY) for i in range(5))]
    eager = regret(trials, Median(grace=0.25, peers=3), SUCCESS, seeds=1, orders=400)
    # it is dropped whenever at least three of the five others ran before it: its place is 4th, 5th or 6th of six
    assert eager.dropped_best == pytest.approx(0.5, abs=0.08)
    assert eager.loss == pytest.approx(0.4 * eager.dropped_best)
    assert eager.saved == pytest.approx(0.75 * eager.dropped_best / 6)  # it stops at 250 of its 1000 environment steps
    patient = regret(trials, Median(grace=0.75, peers=3), SUCCESS, seeds=1, orders=50)
    assert (patient.dropped_best, patient.loss, patient.saved) == (0.0, 0.0, 0.0)


def test_a_configuration_goes_with_its_first_stopped_trial():
    curves = {"late": LATE, "a": EARLY, "b": EARLY}
    trials = [recorded(name, values, seed) for name, values in curves.items() for seed in (0, 1)]
    found = regret(trials, Median(grace=0.25, peers=2), SUCCESS, seeds=2, orders=300)
    assert found.dropped_best == pytest.approx(1 / 3, abs=0.08)  # when it comes last
    assert found.saved == pytest.approx(found.dropped_best * (750 + 1000) / 6000)  # its second seed never starts
    with pytest.raises(UserError, match="3 seeds for each configuration are asked for, but only 2 were run"):
        regret(trials, Median(), SUCCESS, seeds=3)


def test_small_may_be_best():
    trials = [recorded("late", [1 - v for v in LATE]), *(recorded(f"x{i}", [1 - v for v in EARLY]) for i in range(3))]
    found = regret(trials, Median(grace=0.25, peers=1), Objective(name="eval/success", mode="min"), seeds=1, orders=200)
    assert found.loss == pytest.approx(0.4 * found.dropped_best)
    assert found.dropped_best == pytest.approx(0.75, abs=0.1)  # dropped unless it comes first
