"""Figures that would show nothing, or what another one shows, stay out of the report."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from atod_sweep.evidence.report.write import write

MakeRun = Callable[..., Path]


def names(run: Path) -> set[str]:
    return {path.stem for path in write(run, formats=["md"]).figures}


def change(run: Path, **factors: float) -> None:
    """Multiply the costs of arm b, in its records and in the ledger, by factors."""
    for path in [run / "ledger.jsonl", *run.glob("trials/b-*/metrics.jsonl")]:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            for key, factor in factors.items():
                if f"cost/{key}" in row:
                    row[f"cost/{key}"] *= factor
                if row.get("arm") == "b" and key in (row.get("cost") or {}):
                    row["cost"][key] *= factor
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("factors", "shown"),
    [
        ({}, set()),
        ({"env_steps": 1.02}, set()),  # a difference that nobody could see
        ({"env_steps": 0.5}, {"success_by_cost", "learning_by_env_steps"}),
        ({"teacher_tokens": 0.0}, {"success_by_cost", "learning_by_teacher_tokens"}),
    ],
)
def test_costs_are_drawn_where_arms_differ_in_them(
    make_run: MakeRun, factors: dict[str, float], shown: set[str]
) -> None:
    run = make_run("run", {"a": 0.6, "b": 0.5}, seeds=2, steps=40)
    change(run, **factors)
    assert names(run) & {"success_by_cost", "learning_by_env_steps", "learning_by_teacher_tokens"} == shown


@pytest.mark.parametrize(("points", "drawn"), [(2, False), (3, True)])
def test_two_points_make_no_curve(make_run: MakeRun, points: int, drawn: bool) -> None:
    run = make_run("run", {"a": 0.6, "b": 0.5}, seeds=1, steps=40)
    for path in run.glob("trials/*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            if row["phase"] == "train" and row["step"] not in range(0, 10 * points, 10):
                del row["grad_norm/distill"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert ("gradient_distill" in names(run)) is drawn
    assert "gradient_reward" in names(run)
