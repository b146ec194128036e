"""A study file becomes the trials that it names, and every override arrives in a resolved config."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from atod_sweep.config.files import load_file
from atod_sweep.config.study import Study
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.objective.schedules import weights
from atod_sweep.sweep.studies.plan import resolve
from atod_sweep.sweep.studies.run_study import study_work


def plan_of(path):
    return resolve(load_file(Study, path), path.parent, path.name)


def configs(path):
    return {trial.id: Train.model_validate(trial.config) for trial in plan_of(path).trials}


def mean_weight(config):
    values = weights(config.objective.distill_weight, config.steps)
    return math.fsum(values) / len(values)


def test_trials_are_arms_by_levels_by_seeds_with_whole_rounds_first(write_study):
    path = write_study(factors={"horizon": {"short": {"env.horizon": 6}, "long": {"env.horizon": 14}}})
    assert [trial.id for trial in plan_of(path).trials] == [
        "slow~short-s0",
        "fast~short-s0",
        "slow~long-s0",
        "fast~long-s0",
        "slow~short-s1",
        "fast~short-s1",
        "slow~long-s1",
        "fast~long-s1",
    ]
    found = configs(path)
    assert found["fast~long-s1"].optimiser.lr == 0.02
    assert found["fast~long-s1"].env.horizon == 14
    assert found["fast~long-s1"].seed == 1
    assert plan_of(path).trials[3].levels == {"horizon": "long"}


def test_one_teacher_and_student_serve_all_horizons(write_study):
    path = write_study(factors={"horizon": {"short": {"env.horizon": 6}, "long": {"env.horizon": 14}}})
    for config in configs(path).values():
        assert config.teacher.recipe.horizons == [6, 14]
        assert config.student.recipe.horizons == [6, 14]
    path = write_study(base={"env.horizon": 7, "teacher.recipe.horizons": [5, 9]})
    config = configs(path)["slow-s0"]
    assert config.teacher.recipe.horizons == [5, 9]
    assert config.student.recipe.horizons == [7]


def test_an_environment_is_not_taught_at_the_horizons_of_another(write_study):
    levels = {
        "desk": {"env.horizon": 6},
        "tools": {"env.id": "tool_use", "env.horizon": 8},
        "sure_tools": {"env.id": "tool_use", "env.horizon": 10, "env.kwargs.outdated": 0},
    }
    plan = plan_of(write_study(factors={"task": levels}))
    mixes = {trial.levels["task"]: trial.config["teacher"]["recipe"]["horizons"] for trial in plan.trials}
    assert mixes == {"desk": [6], "tools": [8], "sure_tools": [10]}
    assert plan.definition["base"]["teacher"]["recipe"]["horizons"] == [6]  # as the desk is played


def test_a_study_resolves_from_its_base_to_the_same_trials(write_study):
    desk, tools = {"env.horizon": 6}, {"env.id": "tool_use", "env.horizon": 8}
    study = load_file(Study, write_study(factors={"task": {"desk": desk, "long": {"env.horizon": 14}, "tools": tools}}))
    plan = resolve(study, Path(), "small")
    again = resolve(study.model_copy(update={"base": plan.base}), Path(), "small")
    assert {trial.levels["task"]: trial.config["teacher"]["recipe"]["horizons"] for trial in again.trials} == {
        "desk": [6, 14],
        "long": [6, 14],
        "tools": [8],
    }
    assert [trial.config_hash for trial in again.trials] == [trial.config_hash for trial in plan.trials]
    assert again.definition == plan.definition


def test_controls_of_the_interpolated_form(write_study):
    base = {"objective.turns.kind": "thresholds", "steps": 10}
    path = write_study(base=base, controls=["teacher", "opd", "rl", "fixed_mix"], seeds=[4, 7])
    plan = plan_of(path)
    found = configs(path)
    assert [t.id for t in plan.trials if t.role == "teacher"] == ["teacher-s4"]
    assert {t.arm for t in plan.trials if t.role == "control"} == {"opd", "rl", "fixed_mix"}
    opd, rl, mix = (found[f"{name}-s7"].objective for name in ("opd", "rl", "fixed_mix"))
    assert weights(opd.distill_weight, 10) == [1.0] * 10
    assert (opd.turns.kind, opd.turns.value) == ("uniform", 1.0)
    assert weights(rl.distill_weight, 10) == [0.0] * 10
    assert weights(mix.distill_weight, 10) == [0.5] * 10
    assert mix.turns.kind == "thresholds"


def test_controls_of_the_hybrid_form(write_study):
    base = {"steps": 150, "objective.kind": "hybrid", "objective.distill_weight.kind": "linear"}
    base |= {"objective.distill_weight.start": 1.0, "objective.distill_weight.end": 0.1}
    base |= {"objective.distill_weight.anneal_steps": 80, "objective.turns.kind": "t_dur"}
    found = configs(write_study(base=base, controls=["opd", "fixed_mix"], seeds=1))
    assert weights(found["opd-s0"].objective.reward_weight, 150) == [0.0] * 150
    # 1 -> 0.1 over 80 of 150 steps: sum over s < 80 of (1 - 0.9 s / 80) = 80 - 0.9 * 39.5 = 44.45; 70 more steps at 0.1
    assert mean_weight(found["fixed_mix-s0"]) == pytest.approx((44.45 + 7.0) / 150, abs=1e-12)
    assert found["fixed_mix-s0"].objective.reward_weight == found["slow-s0"].objective.reward_weight


@pytest.mark.parametrize("kind", ["interpolated", "hybrid"])
@pytest.mark.parametrize(("turns", "plain"), [("t_dur", "uniform"), ("product", "thresholds"), ("thresholds",) * 2])
def test_null_controls_are_the_base_with_something_in_the_teachers_place(write_study, kind, turns, plain):
    base = {"objective.kind": kind, "objective.turns.kind": turns, "steps": 40}
    nulls = ["shuffled_teacher", "random_teacher", "constant_push"]
    found = configs(write_study(base=base, controls=nulls, seeds=1))
    for null in nulls:
        objective = found[f"{null}-s0"].objective
        assert objective.stand_in.kind == null
        assert objective.turns.kind == (plain if null == "constant_push" else turns)
        kept = {"stand_in": None, "turns": found["slow-s0"].objective.turns}
        assert (
            found[f"{null}-s0"].model_copy(update={"objective": objective.model_copy(update=kept)}) == found["slow-s0"]
        )
    push = found["constant_push-s0"].objective.stand_in
    assert (push.push, push.lowest) == (0.5, 0.2)  # of arXiv 2608.31046


def test_matched_arms_have_the_same_mean_weight(write_study):
    key = "objective.distill_weight"
    arms = {
        "linear": {f"{key}.kind": "linear"},
        "exponential": {f"{key}.kind": "exponential", f"{key}.end": {"match_mean_of": "linear"}},
        "constant": {f"{key}.kind": "constant", f"{key}.start": {"match_mean_of": "exponential"}},
    }
    factors = {"length": {"short": {"steps": 60}, "long": {"steps": 150}}}
    found = configs(write_study(arms=arms, factors=factors, seeds=1))
    for level in ("short", "long"):
        target = mean_weight(found[f"linear~{level}-s0"])
        assert mean_weight(found[f"exponential~{level}-s0"]) == pytest.approx(target, abs=1e-12)
        assert mean_weight(found[f"constant~{level}-s0"]) == pytest.approx(target, abs=1e-12)
    assert found["exponential~long-s0"].objective.distill_weight.end > 0.1


def test_a_claim_may_name_a_metric_that_its_own_levels_report_alone(write_study):
    """Tasks of several kinds have several measures."""
    kinds = {name: {"env.id": name, "env.horizon": 6} for name in ("support_desk", "tool_use")}
    claims = ["slow > fast on eval/f1 at task=support_desk", "slow > fast on eval/tool_accuracy at task=tool_use"]
    assert plan_of(write_study(factors={"task": kinds}, hypotheses=claims)).trials
    with pytest.raises(UserError, match=r"hypotheses.0: no trial reports 'eval/f1'"):
        plan_of(write_study(factors={"task": kinds}, hypotheses=["slow > fast on eval/f1 at task=tool_use"]))


def test_a_claim_may_name_a_metric_that_its_own_arms_report_alone(write_study):
    """A reward that stands in for the environment's is evaluated beside it, in the arms that have one."""
    reward = {"kind": "function", "path": "atod_sweep.envs.families.flattery:flattery"}
    arms = {name: {"reward": reward} for name in ("a", "b")} | {"honest": {}}
    base = {"env.kwargs": {"courtesies": True}}
    plan = plan_of(write_study(base=base, arms=arms, reference="a", hypotheses=["a > b on eval/proxy", "honest > a"]))
    goal = study_work(plan, "").goal
    assert {t.arm: "eval/proxy" in goal.reported(t.arm, t.levels) for t in plan.trials} == {
        "a": True,
        "b": True,
        "honest": False,
    }
    with pytest.raises(UserError, match=r"hypotheses.0: 'honest': no trial reports 'eval/proxy'"):
        plan_of(write_study(base=base, arms=arms, reference="a", hypotheses=["honest > a on eval/proxy"]))
    with pytest.raises(UserError, match=r"metric: 'honest': no trial reports 'eval/proxy'"):
        plan_of(write_study(base=base, arms=arms, reference="a", metric={"name": "eval/proxy"}))
    levels = {"r": {"own": {}, "proxy": {"reward": reward}}}
    with pytest.raises(UserError, match=r"hypotheses.0: 'slow' at r=own: no trial reports 'eval/proxy'"):
        plan_of(write_study(base=base, factors=levels, hypotheses=["fast > slow on eval/proxy"]))


def test_a_bar_may_be_on_a_metric_that_some_arms_report_alone(write_study):
    reward = {"kind": "function", "path": "atod_sweep.envs.families.flattery:flattery"}
    study = {"base": {"env.kwargs": {"courtesies": True}}, "bars": {"learning": {"eval/proxy": 0.1}}}
    assert plan_of(write_study(arms={"a": {"reward": reward}, "honest": {}}, **study)).trials
    with pytest.raises(UserError, match=r"bars.learning: no trial reports 'eval/proxy'"):
        plan_of(write_study(arms={"a": {}, "honest": {}}, **study))


SHORT = {"horizon": {"short": {"env.horizon": 6}}}
WEIGHT = "objective.distill_weight"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": {"a": {"objective.distil_weight.kind": "cosine"}}}, ["arms.a: ", "'objective.distill_weight.kind'?"]),
        ({"arms": {"a": {f"{WEIGHT}.kind": "cosin"}}}, ["arms.a: ", "'cosin'", "'cosine'?"]),
        ({"arms": {"a": {f"{WEIGHT}.kind": "exponential", f"{WEIGHT}.end": 0.0}}}, ["arms.a: ", "end > 0", "got 0.0"]),
        ({"arms": {"a": {f"{WEIGHT}.end": {"match_mean_of": "b"}}}}, ["arms.a: ", "match_mean_of 'b'", "known: a"]),
        ({"arms": {"a": {f"{WEIGHT}.end": {"match_mean_of": "a"}}}}, ["arms.a: ", "leads back to itself"]),
        (
            {"arms": {"a": {f"{WEIGHT}.anneal_fraction": {"match_mean_of": "b"}}, "b": {}}},
            ["arms.a: ", "'anneal_fraction'"],
        ),
        (
            {"arms": {"a": {f"{WEIGHT}.end": {"match_mean_of": "b"}}, "b": {f"{WEIGHT}.kind": "adaptive"}}},
            ["arms.a: ", "use a closed form"],
        ),
        ({"factors": {"horizon": {"short": {"env.horizons": 6}}}}, ["factors.horizon.short: ", "'env.horizon'?"]),
        ({"factors": SHORT, "arms": {"a": {"env.horizon": 4}}}, ["arms.a: ", "'env.horizon' is already set"]),
        ({"base": {"objective.kind": "sft"}, "controls": ["opd"]}, ["controls.opd: ", "'sft'"]),
        ({"base": {"objective.kind": "sft"}, "controls": ["random_teacher"]}, ["controls.random_teacher: ", "'sft'"]),
        ({"base": {WEIGHT: 0}, "controls": ["constant_push"]}, ["controls.constant_push: ", "distill_weight is 0"]),
        ({"base": "presets/none_such"}, ["'presets/none_such'"]),
        ({"base": {"steps": 0}}, ["base: steps", "got 0"]),
    ],
)
def test_bad_studies_are_one_line_that_names_the_place(write_study, changes, words):
    with pytest.raises(UserError) as caught:
        plan_of(write_study(**changes))
    message = str(caught.value)
    assert "\n" not in message
    for word in ["small.yaml: ", *words] if "presets" not in words[0] else words:
        assert word in message


def test_the_definition_holds_what_decides_results_and_nothing_else(write_study):
    first = plan_of(write_study())
    assert (
        plan_of(write_study(concurrency=2, resources={"cpu": 2}, question="Other words?")).definition
        == first.definition
    )
    for changes in ({"seeds": 3}, {"metric": {"last": 3}}, {"hypotheses": ["fast > slow"]}, {"base": {"steps": 41}}):
        assert plan_of(write_study(**changes)).definition != first.definition


def test_a_claim_between_arms_of_two_trainers_is_refused(write_study):
    """Whatever the arm's own settings, the factor's or the base's; a comparison within each is none of two."""
    trl, claim = {"trainer.kind": "trl"}, ["slow > fast"]
    fast = {"optimiser.lr": 0.02}
    with pytest.raises(UserError, match=r"hypotheses\.0: 'slow' is trained by atod and 'fast' by trl"):
        plan_of(write_study(arms={"slow": {}, "fast": fast | trl}, hypotheses=claim))
    assert plan_of(write_study(arms={"slow": {}, "fast": fast | trl}, hypotheses=[])).trials
    assert plan_of(write_study(base=trl, arms={"slow": {}, "fast": fast}, hypotheses=claim)).trials
    by = {"trainer": {"ours": {}, "theirs": trl}}
    found = plan_of(write_study(arms={"slow": {}, "fast": fast}, factors=by, hypotheses=claim)).trials
    assert {trial.levels["trainer"]: trial.config.get("trainer") for trial in found} == {
        "ours": None,
        "theirs": {"kind": "trl", "args": {}},
    }


def test_the_base_student_is_a_control_that_is_evaluated_once(write_study):
    path = write_study(controls=["base", "teacher"], seeds=2, base={"steps": 40, "evaluation.every": 10})
    plan = resolve(load_file(Study, path), path.parent, path.name)
    assert [(t.id, t.role) for t in plan.trials if t.arm == "base"] == [("base-s0", "base")]
    final = write_study(controls=["base"], base={"steps": 40, "evaluation.every": 10, "evaluation.final": {}})
    trials = resolve(load_file(Study, final), final.parent, final.name).trials
    assert [t.id for t in trials if t.role == "base"] == ["base-s0"]  # it plays the final sets, too


@pytest.mark.parametrize(
    ("retention", "metric", "said"),
    [
        ([], "retention/tool_use/drop", "evaluation.retention"),
        ([{"env": {"id": "tool_use"}}], "retention/tool_us/drop", "did you mean 'retention/tool_use/drop'"),
        ([{"env": {"id": "tool_use"}}], "retention/tool_use/bits_per_byte", "no trial reports"),
    ],
)
def test_a_claim_on_what_is_not_kept_is_refused(write_study, retention, metric, said):
    base = {"steps": 40, "evaluation.every": 10, "evaluation.retention": retention}
    path = write_study(base=base, hypotheses=[f"fast > slow on {metric}"])
    with pytest.raises(UserError, match=said):
        resolve(load_file(Study, path), path.parent, path.name)
