"""From the ledger's rows to records: the last row of a trial is its state, and no cell disappears."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ledger_files import read_ledger, study_row, trial_row, write_ledger, write_metrics

from atod_sweep.config.study import Metric
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.comparisons import applied_teacher, best_arm, compare, summarise
from atod_sweep.evidence.analysis.curves import reach_teacher
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.records.metrics import read_metrics

MakeRun = Callable[..., Path]


def append(run: Path, *rows: dict[str, object]) -> None:
    write_ledger(run, [*read_ledger(run), *rows])


def row_of(run: Path, trial: str) -> dict[str, object]:
    rows = read_ledger(run)
    return [row for row in rows if row.get("trial") == trial][-1]


def test_study_and_cells(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.6, "b": 0.5}, controls={"opd": 0.4}, factors={"horizon": {"short": 0, "long": -0.1}})
    results = load(run)
    assert results.arms == ["a", "b", "opd"]
    assert results.conditions == [{"horizon": "short"}, {"horizon": "long"}]
    assert results.seeds == [0, 1, 2]
    assert results.missing() == []
    assert len(results.fixed("teacher")) == 2
    found = results.find("opd", {"horizon": "long"}, 2)
    assert found is not None
    assert found.role == "control"
    assert found.config["seed"] == 2


def test_the_last_row_is_the_state(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.6, "b": 0.5})
    append(run, {**row_of(run, "a-s1"), "state": "RUNNING", "attempt": 2, "metrics": {}})
    results = load(run)
    assert [(m.arm, m.seed, m.reason) for m in results.missing()] == [("a", 1, "running")]


def test_failed_pruned_unreported_and_never_run_cells_are_missing(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.6, "b": 0.5}, seeds=4, failed=[("a", 0)])
    append(run, {**row_of(run, "a-s1"), "state": "PRUNED"})
    append(run, {**row_of(run, "a-s2"), "metrics": {"eval/success": float("nan")}})
    write_ledger(run, [row for row in read_ledger(run) if row.get("trial") != "b-s3"])
    results = load(run)
    assert [(m.arm, m.seed, m.reason) for m in results.missing()] == [
        ("a", 0, "failed: diverged"),
        ("a", 1, "pruned"),
        ("a", 2, "no eval/success"),
        ("b", 3, "not run"),
    ]
    comparison = compare(results, "a", "b", {}, results.study.metric)
    assert comparison.values == []
    assert len(comparison.missing) == 4
    assert summarise(results, "a", {}).missing == 3


def test_a_torn_line_is_left_out(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.6})
    with (run / "ledger.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "trial", "trial": "a-s1", "sta')
    assert load(run).missing() == []


def test_characters_that_end_a_line_elsewhere_stay_in_their_row(make_run: MakeRun) -> None:
    """Rows are written without escapes: U+2028 and U+0085 stand in them as they are."""
    question = "one\u2028two\u0085three"
    run = make_run("x", {"a": 0.6}, question=question)
    assert question.encode() in (run / "ledger.jsonl").read_bytes()
    results = load(run)
    assert results.study.question == question
    assert results.missing() == []


def test_a_damaged_row_is_an_error(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.6})
    for path in (run / "ledger.jsonl", run / "trials" / "a-s1" / "metrics.jsonl"):
        lines = path.read_text(encoding="utf-8").split("\n")
        path.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]), encoding="utf-8")
        with pytest.raises(UserError, match=rf"{path.name}:2: not a JSON row: .*; (restore|delete)"):
            [trial.rows for trial in load(run).trials]
        path.write_text("\n".join(lines), encoding="utf-8")


def test_claims_of_a_later_definition_are_exploratory(make_run: MakeRun) -> None:
    first, late = {"arm": "a", "other": "b"}, {"arm": "b", "other": "a", "margin": 0.1}
    results = load(make_run("x", {"a": 0.6, "b": 0.5}, hypotheses=[first], late_hypotheses=[late]))
    assert [(c.hypothesis.arm, c.registered) for c in results.study.claims] == [("a", True), ("b", False)]


def test_a_moved_margin_makes_a_claim_exploratory(make_run: MakeRun) -> None:
    claim = {"arm": "a", "other": "b", "relation": "=", "margin": 0.03}
    run = make_run("x", {"a": 0.6, "b": 0.5}, hypotheses=[claim])
    study = read_ledger(run)[0]
    append(run, {**study, "hypotheses": [{**study["hypotheses"][0], "margin": 0.05}]})
    assert [c.registered for c in load(run).study.claims] == [False]


def test_mean_of_the_last_evaluations(make_run: MakeRun) -> None:
    trial = load(make_run("x", {"a": 0.6})).find("a", {}, 0)
    assert trial is not None
    last_E = trial.curve("eval/success", "eval").y[-3:]
    assert trial.score(Metric(last=3)) == pytest.approx(np.mean(last_E))
    assert trial.score(Metric(last=1)) == pytest.approx(last_E[-1])
    assert trial.score(Metric(last=99)) is None


def test_applied_teacher_weight_counts_tokens_not_steps(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.6}, seeds=1)
    rows = [
        {"phase": "train", "step": 0, "weight/applied_teacher": 1.0, "cost/generated_tokens": 300},
        {"phase": "train", "step": 1, "weight/applied_teacher": 0.0, "cost/generated_tokens": 400},
    ]
    write_metrics(run / "trials/a-s0/metrics.jsonl", rows)
    trial = load(run).find("a", {}, 0)
    assert trial is not None
    assert applied_teacher(trial) == 0.75


def test_applied_teacher_weight_where_the_teacher_plays_every_turn(make_run: MakeRun) -> None:
    """Then students generate no token by which steps could count; they count alike."""
    run = make_run("x", {"a": 0.6}, seeds=1, steps=20)
    path = run / "trials" / "a-s0" / "metrics.jsonl"
    rows = [{**row, "cost/generated_tokens": 0} for row in read_metrics(path)]
    write_metrics(path, rows)
    weights = [row["weight/applied_teacher"] for row in rows if row["phase"] == "train"]
    assert applied_teacher(load(run).trials[-1]) == pytest.approx(np.mean(weights))


@pytest.mark.parametrize(("metric", "level"), [("eval/success", 0.5), ("eval/turns", 5.5)])
def test_the_teacher_is_reached_from_its_bad_side(make_run: MakeRun, metric: str, level: float) -> None:
    """Turns are 6 minus success, and less of them is better: both metrics tell the same of the same trials."""
    run = make_run("x", {"a": 0.6, "b": 0.4}, metric={"name": metric, "last": 1}, noise=0.0)
    rows = read_ledger(run)
    for row in rows:
        if row.get("role") == "teacher":
            row["metrics"] = {metric: level}
    write_ledger(run, rows)
    a, b = reach_teacher(load(run))
    assert (a.reached, b.reached) == (3, 0)
    assert 0 < a.median["step"] < 60


def test_a_seed_of_a_factorial_study_needs_every_level(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.6, "b": 0.5}, factors={"h": {"s": 0, "l": 0}})
    append(run, {**row_of(run, "a~l-s1"), "state": "FAILED", "error": None})
    results = load(run)
    assert list(compare(results, "a", "b", {}, results.study.metric).differences) == [0, 2]
    assert list(compare(results, "a", "b", {"h": "s"}, results.study.metric).differences) == [0, 1, 2]
    scores = {(t.arm, t.levels["h"], t.seed): t.metrics["eval/success"] for t in results.trials if t.role == "arm"}
    expected = (scores["a", "s", 0] + scores["a", "l", 0] - scores["b", "s", 0] - scores["b", "l", 0]) / 2
    assert compare(results, "a", "b", {}, results.study.metric).differences[0] == pytest.approx(expected)


def test_comparison_with_the_teacher_uses_its_one_evaluation(make_run: MakeRun) -> None:
    results = load(make_run("x", {"a": 0.6}, teacher=0.55))
    comparison = compare(results, "a", "teacher", {}, results.study.metric)
    assert comparison.values == pytest.approx([s - 0.55 for s in summarise(results, "a", {}).scores.values()])


def test_the_best_arm_is_never_a_control_nor_incomplete(make_run: MakeRun) -> None:
    arms = {"a": 0.5, "b": 0.6, "c": 0.7}
    best = best_arm(load(make_run("x", arms, controls={"rl": 0.9}, failed=[("c", 1)], noise=0.001)))
    assert best is not None
    assert (best.arm, best.candidates, best.incomplete) == ("b", 2, False)
    assert best.left_out == pytest.approx(best.interval.estimate)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no run"):
        load(tmp_path)
    (tmp_path / "ledger.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="names no study"):
        load(tmp_path)


def test_a_search_is_judged_by_the_seeds_that_confirmed_it(tmp_path):
    study = study_row("s", [], seeds=[], search={})

    def trial(arm, seed, phase, success):
        return trial_row(arm, seed, "COMPLETE", phase=phase, metrics={"eval/success": success})

    rows = [study, trial("c000", 0, "search", 0.9), trial("c001", 0, "search", 0.2)]
    write_ledger(tmp_path, rows)
    with pytest.raises(UserError, match="has not selected anything yet"):
        load(tmp_path)
    chosen = {**study, "arms": ["reference", "c000"], "seeds": [1000]}
    rows += [chosen, trial("reference", 1000, "confirm", 0.4), trial("c000", 1000, "confirm", 0.5)]
    write_ledger(tmp_path, rows)
    results = load(tmp_path)
    assert [(t.arm, t.seed) for t in results.trials] == [("reference", 1000), ("c000", 1000)]
    assert results.seeds == [1000]
    assert results.missing() == []
