"""Claims about fresh task sets: seeds and tasks are both sources of chance, and what tasks do to two arms cancels."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_files import read_ledger, study_row, trial_row, write_ledger

from atod_sweep.config.study import Metric
from atod_sweep.evidence.analysis.aggregates import interactions
from atod_sweep.evidence.analysis.comparisons import against_reference, best_arm, compare, summarise
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.scores import fixed_level, level_error
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.report.write import write
from atod_sweep.evidence.stats import task_sets
from atod_sweep.evidence.stats.intervals import t_interval

FINAL = "final/success"
SHIFT = np.array([-0.06, -0.02, 0.0, 0.02, 0.06, 0.0])  # how much easier each of the six task sets is
A = [0.80, 0.82, 0.84, 0.78, 0.81]
B = [0.70, 0.73, 0.73, 0.69, 0.70]
CLAIMS = [{"arm": "a", "other": "b"}, {"arm": "a", "other": "teacher"}]


def metrics(level: float, shift: Sequence[float] = SHIFT) -> dict[str, float]:
    by_set = {f"{FINAL}/set{k}": level + s for k, s in enumerate(shift)}
    return {"eval/success": level + 0.03, FINAL: float(np.mean(list(by_set.values()))), **by_set}


def run(
    folder: Path,
    final: bool = True,
    claims: Sequence[dict[str, Any]] = CLAIMS,
    own: dict[str, Any] | None = None,
    **study: Any,
) -> Results:
    """Arms a and b, a teacher whose sets are the other way round, and a base student, with six final sets or none."""
    evaluation: dict[str, Any] = {"tasks": 512} | ({"final": {"sets": 6, "tasks": 256}} if final else {})
    metric = FINAL if final else "eval/success"
    begun = study_row(
        folder.name,
        reference="b",
        metric={"name": metric, "last": 1},
        hypotheses=[{"relation": ">", "metric": metric, **claim} for claim in claims],
        controls=["teacher"],
        seeds=[0, 1, 2, 3, 4],
        definition={"base": {"evaluation": evaluation}, "arms": {"b": own or {}}},
        **study,
    )
    rows = [begun]

    def trial(arm: str, role: str, seed: int, found: dict[str, float], start: float | None) -> None:
        kept = found if final else {"eval/success": found["eval/success"] - 0.03}
        before = {} if start is None else {"eval/success": start}
        rows.append(trial_row(arm, seed, "COMPLETE", role=role, metrics=kept, start_metrics=before))

    trial("teacher", "teacher", 0, metrics(0.6, -SHIFT), None)
    if final:
        trial("base_student", "base", 0, metrics(0.2), None)
    for seed, (a, b) in enumerate(zip(A, B, strict=True)):
        trial("a", "arm", seed, metrics(a), 0.25)
        trial("b", "arm", seed, metrics(b), 0.25)
    folder.mkdir()
    write_ledger(folder, rows)
    return load(folder)


def test_arms_are_paired_by_task(tmp_path: Path) -> None:
    """What a set does to both arms has cancelled: the interval is that of the five seeds."""
    results = run(tmp_path / "run")
    c = compare(results, "a", "b", {}, results.study.metric)
    plain = t_interval([a - b for a, b in zip(A, B, strict=True)])
    assert c.interval.estimate == pytest.approx(plain.estimate)
    assert c.interval.half_width == pytest.approx(plain.half_width, rel=1e-6)
    assert c.by_set[0] == pytest.approx([0.1] * 6)


def test_a_difference_to_the_teacher_carries_both_sources(tmp_path: Path) -> None:
    """By set the difference moves by twice the shift: sd 0.08 over six sets. t(5) = 2.5706, t(4) = 2.7764."""
    results = run(tmp_path / "run")
    c = compare(results, "a", "teacher", {}, results.study.metric)
    seeds = 2.776445 * np.std(A, ddof=1) / math.sqrt(5)
    sets = 2.570582 * np.std(2 * SHIFT, ddof=1) / math.sqrt(6)
    assert c.interval.half_width == pytest.approx(math.hypot(seeds, sets), rel=1e-5)
    assert sets > 3 * seeds
    arm, teacher = judge(results)
    assert teacher.procedure.name == "paired t test over seeds and tasks"
    assert "5 seeds on 6 fresh task sets" in teacher.sentence()
    assert teacher.difference == c.interval
    assert arm.claim == "a > b"  # the study's own metric goes without saying


def test_levels_carry_both_sources(tmp_path: Path) -> None:
    results = run(tmp_path / "run")
    a = summarise(results, "a", {}).interval
    assert a.half_width > 1.8 * t_interval(A).half_width
    teacher = fixed_level(results, "teacher", {})
    assert teacher.estimate == pytest.approx(0.6)
    assert teacher.half_width == pytest.approx(2.570582 * np.std(SHIFT, ddof=1) / math.sqrt(6), rel=1e-5)


def test_with_one_set_of_tasks_a_teacher_is_no_constant(tmp_path: Path) -> None:
    """Shares of 0.81 and 0.6 of 512 tasks: the tasks alone are worth 1.96 * sqrt((0.1539 + 0.24) / 512) = 0.0544."""
    results = run(tmp_path / "run", final=False)
    c = compare(results, "a", "teacher", {}, results.study.metric)
    assert c.interval.half_width == pytest.approx(math.hypot(t_interval(A).half_width, 0.05436), rel=1e-3)
    arm, teacher = judge(results)
    assert "against the one evaluation of teacher, the chance of its tasks allowed for" in teacher.sentence()
    assert arm.comparison.tasks is None  # both arms played the same tasks, much alike
    assert fixed_level(results, "teacher", {}).half_width == pytest.approx(1.96 * math.sqrt(0.24 / 512), rel=1e-3)


def test_the_base_student_is_where_final_metrics_start(tmp_path: Path) -> None:
    results = run(tmp_path / "run")
    assert results.seeds == [0, 1, 2, 3, 4]
    assert results.arms == ["a", "b"]
    assert summarise(results, "a", {}).start == pytest.approx(0.2)
    assert summarise(run(tmp_path / "plain", final=False), "a", {}).start == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("own", "is_known"),
    [
        ({"optimiser.lr": 0.1, "evaluation.every": 5}, True),
        ({"student.layers": 4}, False),
        ({"env.horizon": 4}, False),
        ({"evaluation.final.tasks": 64}, False),
    ],
)
def test_an_arm_that_starts_elsewhere_has_no_known_start(tmp_path: Path, own: dict[str, Any], is_known: bool) -> None:
    """The base student was played on the base's final sets: it says nothing of another student, or of other tasks."""
    results = run(tmp_path / "run", own=own)
    assert summarise(results, "a", {}).start == pytest.approx(0.2)
    assert summarise(results, "b", {}).start == pytest.approx(0.2 if is_known else math.nan, nan_ok=True)


@pytest.mark.parametrize("metric", [FINAL, "cost/tokens"])
def test_claims_on_what_has_one_value_take_no_mean_of_the_last(tmp_path: Path, metric: str) -> None:
    """`metric.last` is about evaluations; final sets are played once, and costs are a sum."""
    claim = {"arm": "a", "other": "b", "relation": ">", "metric": metric}
    run(tmp_path / "run")
    first, *rows = read_ledger(tmp_path / "run")
    rows = [{**row, "cost": {"tokens": (100.0 + row["seed"]) * (1 + (row["arm"] == "b"))}} for row in rows]
    study = {**first, "metric": {"name": "eval/success", "last": 3}, "hypotheses": [claim]}
    write_ledger(tmp_path / "run", [study, *rows])
    (verdict,) = judge(load(tmp_path / "run"))
    assert (verdict.n, verdict.outcome) == (5, "supported")


@pytest.mark.usefixtures("blank_pictures")
def test_the_report_says_what_it_is_about(tmp_path: Path) -> None:
    run(tmp_path / "run")
    text = write(tmp_path / "run").markdown.read_text(encoding="utf-8")
    assert "final success" in text
    assert "over seeds and 6 task sets" in text
    assert "base_student" not in text


def test_an_arm_without_a_set_is_not_in_its_interval(tmp_path: Path) -> None:
    """A trial that reports fewer sets leaves the comparison with those that all have."""
    run(tmp_path / "run")
    rows = read_ledger(tmp_path / "run")
    del rows[-1]["metrics"][f"{FINAL}/set5"]
    write_ledger(tmp_path / "run", rows)
    c = against_reference(load(tmp_path / "run"))[0]
    assert {len(row) for row in c.by_set.values()} == {5}


def test_an_explicit_metric_is_named(tmp_path: Path) -> None:
    claims = [{"arm": "a", "other": "b", "metric": "eval/success"}]
    (verdict,) = judge(run(tmp_path / "run", claims=claims))
    assert verdict.claim == "a > b on eval/success"
    assert verdict.comparison.by_set == {}


def test_a_search_is_judged_by_the_sets_it_never_saw(tmp_path: Path) -> None:
    run(tmp_path / "run")
    rows = read_ledger(tmp_path / "run")
    search = {"metric": {"name": "eval/success", "last": 1, "mode": "max"}}
    study = {**rows[0], "metric": {"name": "eval/success", "last": 1}, "search": search, "controls": []}
    trials = [{**row, "phase": "confirm"} for row in rows[1:] if row["role"] == "arm"]
    write_ledger(tmp_path / "run", [study, *trials])
    assert load(tmp_path / "run").study.metric == Metric(name=FINAL)
    for row in trials:
        row["metrics"] = {"eval/success": row["metrics"]["eval/success"]}
    write_ledger(tmp_path / "run", [study, *trials])
    assert load(tmp_path / "run").study.metric == Metric()


def two_settings(folder: Path, levels: dict[str, dict[str, Any]], final: bool) -> Results:
    """Two arms and a teacher at two levels; on final sets a gains most where the level's index and the set's agree."""
    metric = FINAL if final else "eval/success"
    evaluation: dict[str, Any] = {"tasks": 512} | ({"final": {"sets": 6, "tasks": 256}} if final else {})
    rows = [
        study_row(
            factors={"f": list(levels)},
            controls=["teacher"],
            seeds=[0, 1, 2],
            metric={"name": metric, "last": 1},
            definition={"base": {"evaluation": evaluation}, "factors": {"f": levels}},
        )
    ]
    for i, level in enumerate(levels):
        for arm, value, shift in (("teacher", 0.6, 0 * SHIFT), ("a", 0.8, (-1) ** i * SHIFT), ("b", 0.7, 0 * SHIFT)):
            for seed in range(1 if arm == "teacher" else 3):
                found = metrics(value + 0.01 * seed * (arm == "a"), shift)
                found = found if final else {"eval/success": value + 0.01 * seed}
                role = "teacher" if arm == "teacher" else "arm"
                own = {"role": role, "levels": {"f": level}, "start_metrics": {"eval/success": 0.2}}
                rows.append(trial_row(arm, seed, "COMPLETE", metrics=found, **own))
    folder.mkdir()
    write_ledger(folder, rows)
    return load(folder)


@pytest.mark.parametrize(
    ("levels", "draws"),
    [
        ({"low": {"optimiser.lr": 0.001}, "high": {"optimiser.lr": 0.01}}, 1),  # both play the same 512 tasks
        ({"desk": {"env.id": "support_desk"}, "tools": {"env.id": "tool_use"}}, 2),
        ({"one": {"evaluation.seed": 1}, "two": {"evaluation.seed": 2}}, 2),
        ({"desk": {}, "fast": {"optimiser.lr": 0.01}, "tools": {"env.id": "tool_use"}}, 9 / 5),  # 2/3 of it is one draw
    ],
)
def test_settings_that_play_the_same_tasks_are_one_draw_of_them(
    tmp_path: Path, levels: dict[str, dict[str, Any]], draws: float
) -> None:
    results = two_settings(tmp_path / "run", levels, final=False)
    found = compare(results, "a", "teacher", {}, results.study.metric).tasks
    assert found is not None
    assert found.error == pytest.approx(math.sqrt((0.81 * 0.19 + 0.6 * 0.4) / (512 * draws)))


def test_a_change_of_lead_allows_for_the_tasks(tmp_path: Path) -> None:
    """Seeds gain alike at both levels; what the sets do to the lead turns round from one to the other."""
    results = two_settings(tmp_path / "run", {"low": {}, "high": {}}, final=True)
    (found,) = interactions(results)
    sets = task_sets.measured([-2 * SHIFT])
    assert found.interval.estimate == pytest.approx(0.0, abs=1e-12)
    assert found.interval.half_width == math.inf  # three seeds without spread, nothing to resolve them by
    assert sets.half_width(0.05) > 0.05
    rows = read_ledger(tmp_path / "run")
    for row in rows:
        if row.get("arm") == "a" and row["levels"] == {"f": "low"}:
            row["metrics"] = {k: v + 0.001 * row["seed"] for k, v in row["metrics"].items()}
    write_ledger(tmp_path / "run", rows)
    (found,) = interactions(load(tmp_path / "run"))
    seeds = t_interval([0.0, -0.001, -0.002])
    assert found.interval.half_width == pytest.approx(math.hypot(seeds.half_width, sets.half_width(0.05)))


def test_the_best_arms_interval_is_that_of_the_table(tmp_path: Path) -> None:
    results = run(tmp_path / "run")
    best = best_arm(results)
    assert best is not None
    assert best.interval == summarise(results, "a", {}).interval


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_sets_that_all_end_at_an_edge_tell_no_more_than_that_it_is_near(tmp_path: Path, level: float) -> None:
    """4 of 6 x 256 tasks at the most: p = 4 / 1536 has the standard error sqrt(p (1 - p) / 1536) = 0.0013."""
    results = run(tmp_path / "run", claims=[{"arm": "a", "relation": "=", "other": "b", "margin": 0.01}])
    rows = read_ledger(results.folder)
    for row in rows:
        if row["event"] == "trial" and row["role"] == "arm":
            row["metrics"] = {**metrics(level, np.zeros(6)), "eval/success": 0.9}
    write_ledger(results.folder, rows)
    results = load(results.folder)
    error = task_sets.bounded([level], 1536).error
    assert error == pytest.approx(0.0013, rel=0.01)
    one = level_error(results, "a", {}, results.seeds)
    assert one is not None
    assert one.error == error
    both = compare(results, "a", "b", {}, results.study.metric).tasks
    assert both is not None
    assert both.error == pytest.approx(math.sqrt(2) * error)
    (verdict,) = judge(results)
    assert verdict.outcome == "equivalent"
    assert verdict.interval.high > 1.6 * both.error
