"""The table of methods by tasks, and the arms that no other beats in result and cost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from atod_sweep.evidence.analysis.aggregates import aggregate
from atod_sweep.evidence.analysis.breadth import methods
from atod_sweep.evidence.analysis.comparisons import ArmSummary
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.figures.cost import on_front
from atod_sweep.evidence.report import csv_files
from atod_sweep.evidence.stats.aggregate import SUMMARIES, Statistic
from atod_sweep.evidence.stats.intervals import t_interval
from atod_sweep.evidence.tables import conditions
from atod_sweep.evidence.tables.conditions import breadth

Make = Callable[..., Path]
TASKS = {"task": {"desk": 0.0, "tools": 0.1, "maze": -0.5}}


def test_methods_by_task(make_run: Make) -> None:
    results = load(make_run("wide", {"atod": 0.7}, controls={"opd": 0.6}, factors=TASKS, seeds=4, teacher=0.55))
    found = {m.name: m for m in methods(results)}
    assert list(found) == ["base student", "teacher", "opd", "atod"]  # as in the published tables
    assert [s.estimate for s in found["teacher"].scores] == pytest.approx([0.55, 0.65, 0.05])
    assert found["teacher"].mean == pytest.approx(1.25 / 3)
    assert found["teacher"].gain is None
    atod = found["atod"]
    finals = [[t.metrics["eval/success"] for t in results.of("atod", {"task": task})] for task in TASKS["task"]]
    assert atod.mean == pytest.approx(sum(map(sum, finals)) / 12)
    assert atod.gains is not None
    assert atod.gains[1].interval.estimate == pytest.approx(sum(finals[1]) / 4 - 0.65)
    assert atod.gain is not None
    assert atod.gain.interval.estimate == pytest.approx(atod.mean - 1.25 / 3)
    assert atod.gain.interval.n == 4
    # The middle half of 12 runs: without the three best and the three worst.
    pooled = sorted(x for task in finals for x in task)
    assert atod.iqm.estimate == pytest.approx(sum(pooled[3:9]) / 6)
    table = breadth(methods(results), results)
    assert table.header == [
        "method",
        "desk",
        "tools",
        "maze (not learning)",
        "mean",
        "interquartile mean",
        "minus teacher",
    ]
    assert table.rows[1][1].text == "0.550"
    assert table.rows[3][1].text.startswith("0.7")
    assert "(+0.1" in table.rows[3][1].text


def test_a_task_that_is_always_failed_is_in_the_mean_alone_and_the_table_says_so(make_run: Make) -> None:
    """Four tasks, of which the second sees nothing but failure: a quarter of all runs, which the IQM leaves out."""
    tasks = {"task": {"a": 0.0, "b": -0.7, "c": 0.01, "d": 0.02}}
    results = load(make_run("deep", {"rl": 0.6, "atod": 0.65}, factors=tasks, seeds=4))
    found = {m.name: m for m in methods(results)}
    assert found["rl"].scores[1].estimate < 0.05
    assert found["rl"].mean < 0.5 < found["rl"].iqm.estimate
    assert (
        "a task on which a method always fails: it is in the mean alone" in breadth(methods(results), results).caption
    )


def test_one_task_needs_no_such_table(make_run: Make) -> None:
    assert methods(load(make_run("one", {"a": 0.7}))) == []


def test_without_a_teacher_there_is_nothing_to_improve_on(make_run: Make) -> None:
    found = methods(load(make_run("alone", {"a": 0.7}, factors=TASKS, teacher=None)))
    assert [m.name for m in found] == ["base student", "a"]
    assert found[1].gains is None


def summary(arm: str, score: float, cost: float | None) -> ArmSummary:
    scores = {0: score, 1: score}
    spent = {} if cost is None else {"env_steps": cost}
    return ArmSummary(arm, "arm", {}, scores, 2, t_interval(list(scores.values())), 0.1, spent, 1.0, 0.5)


def test_what_nothing_beats_in_result_and_cost() -> None:
    arms = [
        summary("dear", 0.9, 300.0),
        summary("cheap", 0.5, 100.0),
        summary("beaten", 0.5, 200.0),  # as good as cheap, and dearer
        summary("middle", 0.6, 200.0),
        summary("unknown", 0.95, None),
    ]
    assert [s.arm for s in on_front(arms, "env_steps", 1.0)] == ["cheap", "middle", "dear"]
    assert [s.arm for s in on_front(arms, "env_steps", -1.0)] == ["cheap"]  # small results good: 0.5 at 100 beats all


def test_a_statistic_with_a_row_is_in_the_report_and_its_file(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    worst = Statistic("worst run", lambda pool: pool.min(axis=-1), None, "the lowest score of all")
    monkeypatch.setitem(SUMMARIES, "worst", worst)
    results = load(make_run("wide", {"atod": 0.7}, seeds=3))
    lowest = min(t.metrics["eval/success"] for t in results.of("atod", {}))
    table = conditions.summary(aggregate(results), results)
    row = next(row for row in table.rows if row[0].text == "atod")
    assert row[table.header.index("worst run")].value == lowest
    assert "Worst run: the lowest score of all." in table.caption
    rows = {row["arm"]: row for row in csv_files.content(results)["summaries"]}
    assert rows["atod"]["worst"] == lowest
    assert list(rows["atod"])[:5] == ["arm", "seeds", "median", "worst", "beats_reference"]
