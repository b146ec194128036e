"""Figures that would show nothing, or what another one shows, stay out of the report."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_files import read_ledger, write_ledger, write_metrics

from atod_sweep.evidence.report.write import write
from atod_sweep.records.metrics import read_metrics

MakeRun = Callable[..., Path]


def names(run: Path) -> set[str]:
    return {path.stem for path in write(run, formats=["md"]).figures}


def change(run: Path, **factors: float) -> None:
    """Multiply the costs of arm b, in its records and in the ledger, by factors."""
    ledger = read_ledger(run)
    records = {path: read_metrics(path) for path in run.glob("trials/b-*/metrics.jsonl")}
    for key, factor in factors.items():
        for row in ledger:
            if row.get("arm") == "b" and key in row.get("cost", {}):
                row["cost"][key] *= factor
        for row in (row for rows in records.values() for row in rows if f"cost/{key}" in row):
            row[f"cost/{key}"] *= factor
    write_ledger(run, ledger)
    for path, rows in records.items():
        write_metrics(path, rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factors", "shown"),
    [
        ({}, set()),
        ({"env_steps": 1.02}, set()),  # a difference that nobody could see
        ({"env_steps": 0.5}, {"success_by_cost", "learning_by_env_steps"}),
        ({"teacher_tokens": 0.0}, {"success_by_cost", "learning_by_teacher_tokens"}),
    ],
)
@pytest.mark.usefixtures("blank_pictures")
def test_costs_are_drawn_where_arms_differ_in_them(
    make_run: MakeRun, factors: dict[str, float], shown: set[str]
) -> None:
    run = make_run("run", {"a": 0.6, "b": 0.5}, seeds=2, steps=40)
    change(run, **factors)
    assert names(run) & {"success_by_cost", "learning_by_env_steps", "learning_by_teacher_tokens"} == shown


@pytest.mark.parametrize(("points", "drawn"), [(2, False), (3, True)])
@pytest.mark.usefixtures("blank_pictures")
def test_two_points_make_no_curve(make_run: MakeRun, points: int, drawn: bool) -> None:
    run = make_run("run", {"a": 0.6, "b": 0.5}, seeds=1, steps=40)
    for path in run.glob("trials/*/metrics.jsonl"):
        rows = read_metrics(path)
        for row in rows:
            if row["phase"] == "train" and row["step"] not in range(0, 10 * points, 10):
                del row["grad_norm/distill"]
        write_metrics(path, rows)
    assert ("gradient_distill" in names(run)) is drawn
    assert "gradient_reward" in names(run)
