"""schedule.yaml: what it keeps, how it is rescaled, and what it does to a trainer's config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atod_sweep.config.base import with_overrides
from atod_sweep.config.files import load_train
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.export.schedule import schedule_file
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.objective import schedules

BASE = {"kind": "interpolated", "distill_weight": {"kind": "linear", "anneal_steps": 80}}


def schedule_of(steps: int = 150, horizon: int = 10, **objective: Any) -> ScheduleFile:
    return ScheduleFile.model_validate({"steps": steps, "horizon": horizon, "objective": {**BASE, **objective}})


@pytest.mark.parametrize(
    ("anneal_steps", "steps", "new", "expected_steps", "expected_fraction"),
    [
        (80, 150, 150, 80, 80 / 150),
        (80, 150, 300, 160, 80 / 150),
        (80, 150, 75, 40, 80 / 150),
        (80, 150, 100, None, 80 / 150),
        (200, 150, 75, 100, 80 / 150),  # longer than the run: no fraction of it, so it stays in steps
        (200, 150, 10, 13, 80 / 150),
    ],
)
def test_steps_keep_their_fraction(
    anneal_steps: int, steps: int, new: int, expected_steps: int | None, expected_fraction: float
) -> None:
    before = schedule_of(steps, distill_weight={"kind": "cosine", "anneal_steps": anneal_steps})
    weight = before.rescaled(new, 10).objective.distill_weight
    assert (weight.anneal_steps, weight.anneal_fraction) == (
        expected_steps,
        pytest.approx(expected_fraction, abs=1e-15),
    )


@pytest.mark.parametrize(
    ("early", "late", "horizon", "bounds"),
    [(2, 2, 10, (2, 8)), (2, 2, 20, (4, 16)), (2, 2, 5, (1, 4)), (3, 1, 7, (2.1, 6.3)), (0, 0, 3, (0, 3))],
)
def test_turns_keep_their_fraction(early: int, late: int, horizon: int, bounds: tuple[float, float]) -> None:
    before = schedule_of(turns={"kind": "thresholds", "early_turns": early, "late_turns": late})
    assert before.rescaled(150, horizon).objective.turns.bounds(horizon) == pytest.approx(bounds, abs=1e-12)


def test_same_size_changes_nothing() -> None:
    before = schedule_of(turns={"kind": "thresholds", "early_turns": 2, "late_turns": 3})
    assert before.rescaled(150, 10) == before


def test_every_schedule_is_rescaled() -> None:
    ramp = {"kind": "linear", "anneal_steps": 50}
    before = ScheduleFile.model_validate(
        {
            "steps": 100,
            "horizon": 4,
            "objective": {"kind": "hybrid", "reward_weight": ramp, "kl_penalty": {"kind": "k2", "coef": ramp}},
            "temperature": ramp,
        }
    )
    after = before.rescaled(200, 4)
    assert after.reward_weight.anneal_steps == after.beta_kl.anneal_steps == after.temperature.anneal_steps == 100


def test_reads_back(tmp_path: Path) -> None:
    schedule = schedule_of(turns={"kind": "thresholds", "early": 0.9, "late": 0.1})
    (tmp_path / "schedule.yaml").write_text(schedule_file.dump(schedule), encoding="utf-8")
    assert schedule_file.load(tmp_path) == schedule_file.load(tmp_path / "schedule.yaml") == schedule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: atod-sweep/schedule/9\nsteps: 5\nhorizon: 2\nobjective: {kind: hybrid}\n", "atod-sweep/schedule/9"),
        ("steps: 0\nhorizon: 2\nobjective: {kind: hybrid}\n", "steps: .* got 0"),
        ("steps: 5\nhorizon: 2\nobjective: {kind: dpo}\n", "unknown kind 'dpo'"),
        ("steps: 5\nhorizon: 2\nobjective: {kind: hybrid}\ntemprature: 1\n", "did you mean 'temperature'"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "schedule.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        schedule_file.load(tmp_path)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        schedule_file.load(tmp_path / "nothing.yaml")


def test_objective_without_a_schedule() -> None:
    config = load_train({"objective": {"kind": "dpo"}})
    with pytest.raises(UserError, match="'dpo' has no schedule to export"):
        schedule_file.from_train(config)


def test_train_runs_the_exported_schedule(tmp_path: Path) -> None:
    """Trial -> schedule file -> overrides of an unrelated config -> the same weight at every step."""
    weight = {"kind": "exponential", "start": 0.8, "end": 0.05, "anneal_steps": 33}
    trial = load_train({"objective": {"kind": "hybrid", "distill_weight": weight}, "steps": 90, "seed": 4})
    path = tmp_path / "best_schedule.yaml"
    path.write_text("# a comment\n" + schedule_file.dump(schedule_file.from_train(trial)), encoding="utf-8")
    other = load_train({"steps": 10, "optimiser": {"lr": 1e-4}})
    data = with_overrides(Train, other.model_dump(mode="json"), schedule_file.train_overrides(path))
    rerun = Train.model_validate(data)
    assert rerun.optimiser.lr == 1e-4
    assert rerun.steps == 90
    assert schedules.weights(rerun.objective.distill_weight, 90) == schedules.weights(
        trial.objective.distill_weight, 90
    )
    assert rerun.objective == trial.objective
    shorter = schedule_file.train_overrides(path, steps=30)
    assert (shorter["steps"], shorter["objective"]["distill_weight"]["anneal_steps"]) == (30, 11)
