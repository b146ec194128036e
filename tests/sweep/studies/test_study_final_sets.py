"""Studies and searches whose students play fresh task sets at the end: claims are about those, choices never were."""

from __future__ import annotations

import pytest
import yaml
from fake_training import FAKE

from atod_sweep.config.base import content_hash
from atod_sweep.config.files import load_file
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.searches.run_search import run_search
from atod_sweep.sweep.studies.plan import resolve
from atod_sweep.sweep.studies.run_study import run_study

BASE = {"steps": 40, "evaluation.every": 10, "optimiser.lr": 0.01, "evaluation.final": {"sets": 4, "tasks": 8}}
CLAIMS = ["fast > slow", "fast > slow on eval/success", "fast = slow on eval/turns within 0.5"]
HORIZONS = {"horizon": {"short": {"env.horizon": 6}, "long": {"env.horizon": 14}}}


def plan_of(path):
    return resolve(load_file(Study, path), path.parent, path.name)


def test_metrics_that_are_not_named_are_those_of_the_final_sets(write_study):
    plan = plan_of(write_study(base=BASE, hypotheses=CLAIMS))
    assert plan.study.metric.name == "final/success"
    assert [claim.metric for claim in plan.study.hypotheses] == ["final/success", "eval/success", "eval/turns"]
    named = plan_of(write_study(base=BASE, metric={"name": "eval/reward"}, hypotheses=CLAIMS[:1]))
    assert named.study.metric.name == "eval/reward"
    assert named.study.hypotheses[0].metric == "final/success"
    without = plan_of(write_study(hypotheses=CLAIMS)).study
    assert {without.metric.name, without.hypotheses[0].metric} == {"eval/success"}


def test_every_base_student_plays_them_once(write_study):
    plan = plan_of(write_study(base=BASE, controls=["teacher"], seeds=3))
    assert [(t.id, t.role, t.levels) for t in plan.trials if t.role in ("base", "teacher")] == [
        ("base_student-s0", "base", {}),
        ("teacher-s0", "teacher", {}),
    ]
    lr = {"lr": {"half": {"optimiser.lr": 0.005}, "double": {"optimiser.lr": 0.02}}}
    arms = {"slow": {}, "fast": {"objective.distill_weight.kind": "cosine"}}
    shared = plan_of(write_study(base=BASE, arms=arms, factors=lr)).trials
    assert [(t.id, t.levels) for t in shared if t.role == "base"] == [("base_student-s0", {})]
    apart = plan_of(write_study(base=BASE, factors=HORIZONS)).trials
    assert [t.id for t in apart if t.role == "base"] == ["base_student~short-s0", "base_student~long-s0"]


def test_a_study_without_final_sets_is_planned_as_ever(write_study):
    plan = plan_of(write_study(controls=["teacher"]))
    assert "final" not in plan.definition["base"]["evaluation"]
    assert {t.role for t in plan.trials} == {"arm", "teacher"}
    assert content_hash(plan.trials[1].config) == plan.trials[1].config_hash


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": {"name": "final/success"}}, r"'final/success': no final sets are played; set evaluation.final"),
        ({"hypotheses": ["fast > slow on final/turns"]}, r"'final/turns': no final sets are played.*or use eval/turns"),
        ({"base": BASE, "metric": {"last": 2}}, r"metric.last: 2: final sets are played once.*use eval/success"),
        ({"base": BASE, "arms": {"base_student": {}}}, r"arms.base_student: names the student before training"),
        ({"arms": {"a": {}, "b": {"evaluation.final.sets": 4}}}, r"some trials would play final sets, others not"),
        ({"arms": {"a": {"evaluation.final.sets": 4}}}, r"evaluation.final: some trials.*set it in base"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(write_study, changes, said):
    path = write_study(**changes)
    with pytest.raises(UserError, match=said) as error:
        plan_of(path)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("no_mlflow")
def test_a_finished_study(write_study, tmp_path):
    path = write_study(base=BASE, controls=["teacher"], hypotheses=CLAIMS[:1])
    options = {"backend": "local", "trainer": FAKE}
    outcome = run_study(path, out=tmp_path / "runs", seeds=1, **options)
    assert (outcome.total, outcome.complete) == (4, 4)
    history = ledger.fold(ledger.read(outcome.run_dir))
    study, trials = history.study, history.trials
    assert study["metric"] == {"name": "final/success", "last": 1}
    assert study["hypotheses"][0]["metric"] == "final/success"
    fast = trials["fast-s0"]["metrics"]
    assert fast["eval/success"] == pytest.approx(0.9)
    assert [fast[f"final/success/set{k}"] for k in range(4)] == pytest.approx([0.9, 0.89, 0.88, 0.87])
    assert trials["fast-s0"]["score"] == fast["final/success"] == pytest.approx(0.885)
    assert trials["teacher-s0"]["metrics"]["final/success"] == pytest.approx(0.595)
    assert trials["base_student-s0"]["metrics"]["final/success"] == pytest.approx(0.085)
    assert all(isinstance(value, float) for row in trials.values() for value in row["metrics"].values())
    for trial in ("fast-s0", "teacher-s0", "base_student-s0"):  # every task's outcome stays with the trial
        (row,) = (
            r for r in read_metrics(outcome.run_dir / "trials" / trial / "metrics.jsonl") if r["phase"] == "final"
        )
        assert "final/outcomes" in row
    assert resume_run(outcome.run_dir, **options).complete == 4
    again = ledger.fold(ledger.read(outcome.run_dir))
    assert (len(again.studies), again.study["definition_hash"]) == (1, study["definition_hash"])


@pytest.mark.usefixtures("no_mlflow")
def test_a_search_never_sees_the_final_sets_by_which_its_choice_is_judged(tmp_path):
    search = {
        "base": BASE,
        "parameters": {"optimiser.lr": {"float": [0.001, 0.02]}},
        "sampler": {"kind": "random"},
        "budget": {"configurations": 2, "seeds": 1, "confirm": {"top": 1, "seeds": 2}},
    }
    path = tmp_path / "find.yaml"
    path.write_text(yaml.safe_dump(search))
    outcome = run_search(path, out=tmp_path / "runs", backend="local", trainer=FAKE)
    trials = ledger.fold(ledger.read(outcome.run_dir)).trials.values()
    assert {(row["phase"], "final/success" in row["metrics"]) for row in trials} == {
        ("search", False),
        ("confirm", True),
    }
    path.write_text(yaml.safe_dump({**search, "metric": {"name": "final/success"}}))
    with pytest.raises(UserError, match=r"'final/success': a search that chooses by the final sets.*use eval/success"):
        run_search(path, out=tmp_path / "runs", name="other", backend="local", trainer=FAKE)
