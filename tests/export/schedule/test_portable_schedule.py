"""schedule.py against the trainer's own functions, and against numbers worked out by hand."""

from __future__ import annotations

import ast
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kind_examples import CLOSED_FORMS, TURNS

from atod_sweep.config.objective import Hybrid, Interpolated
from atod_sweep.export.schedule import own_code
from atod_sweep.export.schedule.generate import schedule_module
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.trace import Trace
from atod_sweep.export.schedule.verify import importable
from atod_sweep.objective import schedules
from atod_sweep.objective.profiles import profile

PUBLISHED = {"kind": "linear", "start": 1.0, "end": 0.1, "anneal_steps": 80}
RISE = {"kind": "linear", "start": 0.0, "end": 1.0, "anneal_fraction": 1.0}


def schedule_of(objective: dict[str, Any], steps: int = 150, horizon: int = 10, **rest: Any) -> ScheduleFile:
    return ScheduleFile.model_validate({"steps": steps, "horizon": horizon, "objective": objective, **rest})


def load(schedule: ScheduleFile, trace: Trace | None = None) -> Any:
    namespace: dict[str, Any] = {}
    with importable(own_code.texts(schedule)):
        exec(schedule_module(schedule, trace or Trace()), namespace)
    return namespace["weights"]


def ours(schedule: ScheduleFile, step: int, turn: int) -> dict[str, float]:
    """The weights by the formulas of the method and the trainer's functions, T-DUR's factor left out."""

    def value(config: Any) -> float:
        progress = schedules.progress(step, schedule.steps, config)
        return schedules.build(config).value(progress)

    objective = schedule.objective
    teacher = value(objective.distill_weight) * profile(objective.turns, schedule.horizon)[turn]
    penalty = objective.kl_penalty
    return {
        "distill": teacher,
        "reward": value(objective.reward_weight) if isinstance(objective, Hybrid) else 1.0 - teacher,
        "beta_kl": 0.0 if penalty.kind == "none" else value(penalty.coef),
        "temperature": value(schedule.temperature),
    }


def distance(found: dict[str, float], expected: dict[str, float]) -> float:
    assert found.keys() == expected.keys()
    return max(abs(found[key] - expected[key]) for key in expected)


@pytest.mark.parametrize("weight", CLOSED_FORMS, ids=lambda s: s["kind"])
@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
def test_equals_the_trainer_at_every_step_and_turn(form: str, weight: dict[str, Any]) -> None:
    objective = {"kind": form, "distill_weight": weight, "kl_penalty": {"kind": "k3", "coef": weight}}
    if form == "hybrid":
        objective["reward_weight"] = RISE
    for turns in TURNS if form == "interpolated" else TURNS[::3]:  # the forms share what they make of turns
        falling = {"kind": "linear", "start": 1.0, "end": 0.7}
        schedule = schedule_of(objective | {"turns": turns}, steps=30, temperature=falling)
        weights = load(schedule)
        for step, turn in itertools.product(range(30), (0, 1, 2, 4, 5, 7, 9)):
            # turn_weight=1 leaves out what T-DUR adds, which no function of the step and turn has
            found = weights(step, turn, 30, 10, turn_weight=1.0)
            assert distance(found, ours(schedule, step, turn)) <= 1e-12, (turns, step, turn)


@pytest.mark.parametrize("weight", CLOSED_FORMS, ids=lambda s: s["kind"])
def test_another_length_is_the_rescaled_schedule(weight: dict[str, Any]) -> None:
    for turns in TURNS:
        schedule = schedule_of({"kind": "interpolated", "distill_weight": weight, "turns": turns})
        weights = load(schedule)
        for steps, horizon in [(60, 20), (7, 3), (1000, 5), (1, 10)]:
            rescaled = schedule.rescaled(steps, horizon)
            again = load(rescaled)
            for step, turn in itertools.product({0, steps // 3, steps // 2, steps - 1}, range(horizon)):
                expected = ours(rescaled, step, turn)
                for found in (weights, again):
                    there = found(step, turn, steps, horizon, turn_weight=1.0)
                    assert distance(there, expected) <= 1e-12, (turns, steps, horizon, step, turn)


@pytest.mark.parametrize(
    ("step", "total", "expected"),
    [
        (0, 150, 1.0),
        (40, 150, 0.55),
        (79, 150, 1.0 - 0.9 * 79 / 80),
        (80, 150, 0.1),
        (81, 150, 0.1),
        (149, 150, 0.1),
        (0, 300, 1.0),
        (80, 300, 0.55),
        (160, 300, 0.1),
        (20, 75, 0.55),
        (5000, 150, 0.1),
    ],
)
def test_published_schedule_by_hand(step: int, total: int, expected: float) -> None:
    """kappa: 1.0 -> 0.1 over 80 of 150 steps; rho: 1.0 -> 2.0 over the same window."""
    rho = {"kind": "linear", "start": 1.0, "end": 2.0, "anneal_steps": 80}
    weights = load(schedule_of({"kind": "hybrid", "distill_weight": PUBLISHED, "reward_weight": rho}))
    found = weights(step, 0, total, 10)
    assert found["distill"] == pytest.approx(expected, abs=1e-15)
    assert found["reward"] == pytest.approx(1.0 + (1.0 - expected) / 0.9, abs=1e-12)
    assert found["beta_kl"] == 0.0


@pytest.mark.parametrize(
    ("turn", "horizon", "expected"),
    [
        (0, 10, 0.9),
        (1, 10, 0.9),
        (2, 10, 0.9 - 0.8 / 7),
        (7, 10, 0.1 + 0.8 / 7),
        (8, 10, 0.1),
        (9, 10, 0.1),
        (99, 10, 0.1),
        (0, 20, 0.9),
        (3, 20, 0.9),
        (4, 20, 0.9 - 0.8 / 13),
        (15, 20, 0.1 + 0.8 / 13),
        (16, 20, 0.1),
        (0, 1, 0.5),
    ],
)
def test_reference_dialogue_by_hand(turn: int, horizon: int, expected: float) -> None:
    """Ten turns, the first two at 0.9, the last two at 0.1; at twenty turns the first and last four.

    At one turn the early part ends at 0.2 and the late part starts at 0.8: q = (0 + 0.8) / (0.8 + 0.8).
    """
    turns = {"kind": "thresholds", "early_turns": 2, "late_turns": 2}
    weights = load(schedule_of({"kind": "interpolated", "distill_weight": 1.0, "turns": turns}))
    found = weights(3, turn, 150, horizon)
    assert found["distill"] == pytest.approx(expected, abs=1e-12)
    assert found["distill"] + found["reward"] == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("kind", ["linear", "cosine", "exponential"])
def test_ends_are_exact_at_any_length(kind: str) -> None:
    weight = {"kind": kind, "start": 0.9, "end": 0.1, "anneal_fraction": 0.5}
    weights = load(schedule_of({"kind": "interpolated", "distill_weight": weight}))
    for total in (2, 10, 150, 1234):
        assert weights(0, 0, total, 1)["distill"] == 0.9
        assert weights(math.ceil(total / 2), 0, total, 1)["distill"] == 0.1
        assert weights(total - 1, 0, total, 1)["distill"] == 0.1


def test_trace_is_replayed_and_live_values_take_its_place() -> None:
    objective = {"kind": "interpolated", "distill_weight": {"kind": "adaptive"}, "turns": {"kind": "product"}}
    trace = Trace(distill=(1.0, 0.8, 0.6, 0.2), turns=((0.5, 0.25),) * 4)
    weights = load(schedule_of(objective, steps=4, horizon=2), trace)
    assert [weights(s, 0, 4, 2)["distill"] for s in range(4)] == [0.5, 0.4, 0.3, 0.1]
    assert [weights(s, 1, 4, 2)["distill"] for s in (0, 3)] == [0.25, 0.05]
    assert [weights(s, 0, 7, 2)["distill"] for s in (0, 6)] == [0.5, 0.1]
    g = profile(Interpolated.model_validate(objective).turns, 2)
    live = weights(1, 1, 4, 2, distill=0.9, turn_weight=0.3)
    assert live["distill"] == pytest.approx(0.9 * g[1] * 0.3, abs=1e-15)
    assert live["reward"] == pytest.approx(1 - 0.9 * g[1], abs=1e-15)
    assert weights(0, 0, 4, 2, beta_kl=0.7)["beta_kl"] == 0.7


@pytest.mark.parametrize(
    ("step", "turn", "total", "horizon"), [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0)]
)
def test_outside_the_domain(step: int, turn: int, total: int, horizon: int) -> None:
    with pytest.raises(ValueError, match=f"step {step} of {total}, turn {turn} of {horizon}"):
        load(schedule_of({"kind": "interpolated"}))(step, turn, total, horizon)


def test_module_runs_without_this_package(tmp_path: Path) -> None:
    text = schedule_module(schedule_of({"kind": "interpolated", "distill_weight": PUBLISHED}), Trace())
    imported = {a.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom) and n.module}
    assert imported == {"__future__", "math", "typing"}
    (tmp_path / "schedule.py").write_text(text, encoding="utf-8")
    code = "import sys; sys.path.insert(0, '.'); import schedule; print(schedule.weights(40, 0, 150, 10)['distill'])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(0.55, abs=1e-15)
