"""Decay shapes step by step, their mean weights, and the two controllers."""

import json
import math
from typing import Any

import pytest
from kind_examples import CLOSED_FORMS
from pydantic import TypeAdapter
from scipy.optimize import brentq

from atod_sweep.config.kinds import kinds, one_each
from atod_sweep.config.penalties import TargetKL
from atod_sweep.config.schedules import (
    Adaptive,
    Annealed,
    ClosedForm,
    ClosedFormSchedule,
    Constant,
    Cosine,
    CustomDecay,
    Exponential,
    Linear,
    Piecewise,
    Step,
)
from atod_sweep.errors import UserError
from atod_sweep.objective import schedules

DECAYS = (Linear, Cosine, Exponential)
ANNEALED = [data for data in CLOSED_FORMS if issubclass(kinds(ClosedForm)[data["kind"]], Annealed)]
PAPER = {"start": 1.0, "end": 0.1, "anneal_steps": 80}


# value at step 0, 1, 20, 40, 79, 80, 81, 149 of 150
PAPER_TABLE = {
    Linear: [1.0, 0.98875, 0.775, 0.55, 0.11125, 0.1, 0.1, 0.1],
    Cosine: [1.0, 0.999653066, 0.868198052, 0.55, 0.100346934, 0.1, 0.1, 0.1],
    Exponential: [1.0, 0.971627952, 0.562341325, 0.316227766, 0.102920053, 0.1, 0.1, 0.1],
}


@pytest.mark.parametrize("kind", DECAYS)
def test_published_window_step_by_step(kind: type[Linear]) -> None:
    values = schedules.weights(kind(**PAPER), 150)
    assert [values[s] for s in (0, 1, 20, 40, 79, 80, 81, 149)] == pytest.approx(PAPER_TABLE[kind], abs=5e-10)


# Every kind of closed form: its settings, and the values at steps 0, 29, 30, 60 and 99 of 100 by hand.
GOLDEN = one_each(
    ClosedForm,
    {
        "constant": ({"start": 0.7}, [0.7, 0.7, 0.7, 0.7, 0.7]),
        "linear": ({"start": 1.0, "end": 0.4, "anneal_steps": 60}, [1.0, 0.71, 0.7, 0.4, 0.4]),
        # 0.4 + 0.3 (1 + cos(pi 29 / 60))
        "cosine": ({"start": 1.0, "end": 0.4, "anneal_steps": 60}, [1.0, 0.715700787, 0.7, 0.4, 0.4]),
        # 0.25^(29 / 60)
        "exponential": ({"start": 1.0, "end": 0.25, "anneal_steps": 60}, [1.0, 0.511686946, 0.5, 0.25, 0.25]),
        "step": ({"boundaries": [0.3, 0.6], "values": [1.0, 0.5, 0.1]}, [1.0, 1.0, 0.5, 0.1, 0.1]),
        # 1 - 0.5 * 29 / 30
        "piecewise": ({"boundaries": [0.3, 0.6], "values": [1.0, 0.5, 0.1]}, [1.0, 0.516666667, 0.5, 0.1, 0.1]),
        # 1 - 0.6 sqrt(29 / 60), 1 - 0.6 sqrt(1 / 2)
        "custom": (
            {"path": "own_ideas:root", "start": 1.0, "end": 0.4, "anneal_steps": 60},
            [1.0, 0.582866928, 0.575735931, 0.4, 0.4],
        ),
    },
)
_CLOSED: TypeAdapter[ClosedForm] = TypeAdapter(ClosedFormSchedule)


@pytest.mark.parametrize("kind", GOLDEN)
def test_every_kind_by_hand(kind: str) -> None:
    fields, expected = GOLDEN[kind]
    values = schedules.weights(_CLOSED.validate_python({"kind": kind, **fields}), 100)
    assert [values[s] for s in (0, 29, 30, 60, 99)] == pytest.approx(expected, abs=5e-10)


@pytest.mark.parametrize("data", CLOSED_FORMS, ids=lambda data: data["kind"])
def test_what_every_kind_says_of_itself_is_true(data: dict[str, Any]) -> None:
    """Between its extremes all the time, the same from `settled` on, and the same curve when it is rescaled."""
    config = _CLOSED.validate_python(data)
    values = schedules.weights(config, 150)
    low, high = config.extremes()
    assert low <= min(values)
    assert max(values) <= high
    settled = math.ceil(config.settled(150))
    assert len(set(values[settled:])) <= 1
    assert settled == 0 or settled == 150 or values[settled - 1] != values[settled]
    assert schedules.weights(config.rescaled(150, 300), 300)[::2] == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("data", ANNEALED, ids=lambda data: data["kind"])
def test_every_decay_goes_from_start_to_end_in_its_window(data: dict[str, Any]) -> None:
    ends = {"start": 0.9, "end": 0.2, "anneal_fraction": 0.4, "hold_fraction": 0.2}
    values = schedules.weights(_CLOSED.validate_python({**data, "anneal_steps": None, **ends}), 100)
    assert values[:21] == [0.9] * 21
    assert values[60:] == pytest.approx([0.2] * 40, abs=1e-15)
    assert all(0.2 < value < 0.9 for value in values[21:60])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_ideas:overshooting", r"gives 1\.08 at progress 0\.9; a decay gives a share from 0 to 1"),
        ("own_ideas:lost", r"gives nan at progress 0\.9"),
        ("own_ideas:wordy", r"gives 'half' at progress 0\.9"),
    ],
)
def test_a_decay_of_ones_own_must_give_a_share(path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        schedules.build(CustomDecay(path=path)).value(0.9)


def test_cosine_is_above_linear_early_and_below_it_late() -> None:
    cosine, linear = schedules.build(Cosine()), schedules.build(Linear())
    assert cosine.value(0.25) > linear.value(0.25)
    assert cosine.value(0.75) < linear.value(0.75)


@pytest.mark.parametrize(
    ("config", "mean"),
    [
        # (80 - 0.9 * 79 / 2 + 7) / 150; the cosines of steps 1 .. 79 cancel in pairs, which gives the same sum
        (Linear(**PAPER), 0.343),
        (Cosine(**PAPER), 0.343),
        # (0.9 / (1 - 0.1^(1/80)) + 7) / 150
        (Exponential(**PAPER), 0.258142409),
        (Constant(start=1.0), 1.0),
        # the default window is the published one: 80 / 150 of any run
        (Linear(), 0.343),
    ],
)
def test_mean_weight(config: ClosedForm, mean: float) -> None:
    assert math.fsum(schedules.weights(config, 150)) / 150 == pytest.approx(mean, abs=5e-10)


@pytest.mark.parametrize("kind", DECAYS)
def test_ends_are_exact(kind: type[Linear]) -> None:
    curve = schedules.build(kind(start=0.7, end=0.3))
    assert [curve.value(p) for p in (-0.5, 0.0, 1.0, 1.5)] == [0.7, 0.7, 0.3, 0.3]


@pytest.mark.parametrize("config", [Constant(), Linear(), Cosine(), Exponential(), Step(boundaries=[], values=[1.0])])
def test_nan_progress_is_refused(config: ClosedForm) -> None:
    with pytest.raises(UserError, match="got nan"):
        schedules.build(config).value(math.nan)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"anneal_steps": 4}, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ({"anneal_fraction": 0.4}, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        # anneal_steps takes the place of anneal_fraction
        ({"anneal_steps": 2, "anneal_fraction": 1.0}, [1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ({"anneal_steps": 4, "hold_fraction": 0.2}, [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0]),
        # a window of one step jumps; one that outlives the run never arrives
        ({"anneal_steps": 1, "hold_fraction": 0.5}, [1.0] * 6 + [0.0] * 4),
        ({"anneal_steps": 20}, [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55]),
    ],
)
def test_window_of_ten_steps(window: dict[str, float], expected: list[float]) -> None:
    assert schedules.weights(Linear(start=1.0, end=0.0, **window), 10) == pytest.approx(expected, abs=1e-15)


def test_one_step_run_stays_at_start() -> None:
    assert schedules.weights(Cosine(start=0.8, end=0.1), 1) == [0.8]


@pytest.mark.parametrize(("step", "total"), [(-1, 10), (0, 0)])
def test_progress_refuses(step: int, total: int) -> None:
    with pytest.raises(UserError, match=f"step {step} of {total}"):
        schedules.progress(step, total, Linear())


def test_staircase_changes_at_its_boundaries() -> None:
    config = Step(boundaries=[0.1, 0.7], values=[1.0, 0.4, 0.1])
    values = schedules.weights(config, 150)
    assert [values[s] for s in (0, 14, 15, 16, 104, 105, 106, 149)] == [1.0, 1.0, 0.4, 0.4, 0.4, 0.1, 0.1, 0.1]
    assert schedules.build(config).value(1.0) == 0.1


def test_piecewise_joins_its_corners() -> None:
    config = Piecewise(boundaries=[0.25, 0.75], values=[1.0, 0.5, 0.0])
    expected = [1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
    assert schedules.weights(config, 8) == pytest.approx(expected, abs=1e-15)


def test_tables_without_boundaries_are_constant() -> None:
    for kind in (Step, Piecewise):
        assert schedules.weights(kind(boundaries=[], values=[0.3]), 3) == [0.3, 0.3, 0.3]


# ---- equal areas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "field", "target", "expected"),
    [
        (Constant(start=0.9), "start", 0.343, 0.343),
        (Linear(start=1.0, end=0.5, anneal_steps=80), "end", 0.343, 0.1),
        (Cosine(start=0.5, end=0.1, anneal_steps=80), "start", 0.343, 1.0),
        (Exponential(start=1.0, end=0.5, anneal_steps=80), "end", 0.258142409, 0.1),
        # 40.5 / 150 belong to the start alone: the least that a linear decay from 1 can reach
        (Linear(start=1.0, end=0.5, anneal_steps=80), "end", 0.27, 0.0),
    ],
)
def test_match_mean_known_answers(config: ClosedForm, field: str, target: float, expected: float) -> None:
    assert schedules.match_mean(config, field, target, 150) == pytest.approx(expected, abs=1e-8)


def test_exponential_matched_to_linear() -> None:
    end = schedules.match_mean(Exponential(**PAPER), "end", 0.343, 150)
    # geometric sum of 80 steps, then 70 steps at `end`
    root = brentq(lambda e: ((1 - e) / (1 - e ** (1 / 80)) + 70 * e) / 150 - 0.343, 0.1, 0.5, xtol=1e-14)
    assert end == pytest.approx(root, abs=1e-12)
    matched = schedules.weights(Exponential(**PAPER | {"end": end}), 150)
    assert math.fsum(matched) / 150 == pytest.approx(0.343, abs=1e-12)


@pytest.mark.parametrize(
    ("config", "field", "target", "message"),
    [
        (Linear(**PAPER), "end", 0.2, r"mean weight of 0\.2; it reaches 0\.27 to 1"),
        (Linear(**PAPER), "end", 1.2, r"no end from 0 to 1\.2 gives .* it reaches 0\.27 to 1\.146"),
        (Linear(**PAPER), "end", math.nan, "mean weight of nan"),
        (Constant(), "end", 0.5, "a constant schedule has no 'end'"),
        (Step(boundaries=[0.5], values=[1.0, 0.0]), "start", 0.5, "a step schedule has no 'start'"),
    ],
)
def test_match_mean_refuses(config: ClosedForm, field: str, target: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        schedules.match_mean(config, field, target, 150)


# ---- controllers -------------------------------------------------------------------------------------------------

ADAPTIVE = Adaptive(start=1.0, end=0.0, threshold=0.1, levels=2, smoothing=0.5)


def test_adaptive_advances_on_the_smoothed_gap() -> None:
    schedule = schedules.build(ADAPTIVE)
    seen = [schedule.current]
    # running mean: 0.3, 0.175, 0.1125, 0.08125 (advance), 0.290625, 0.1453, 0.0727 (advance), 0.0363 (at the end)
    for gap in (0.3, 0.05, 0.05, 0.05, 0.5, 0.0, 0.0, 0.0):
        schedule.update(gap)
        seen.append(schedule.current)
    assert seen == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(("gap", "current"), [(0.0999, 0.5), (0.1, 1.0), (0.1001, 1.0)])
def test_adaptive_threshold_is_strict(gap: float, current: float) -> None:
    schedule = schedules.build(ADAPTIVE)
    schedule.update(gap)
    assert schedule.current == current


def test_adaptive_goes_on_from_its_state() -> None:
    one, two = schedules.build(ADAPTIVE), schedules.build(ADAPTIVE)
    for gap in (0.3, 0.05, 0.05):
        one.update(gap)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    # 0.09 alone would advance; with the remembered mean of 0.1125 it makes 0.10125, which does not
    for schedule in (one, two):
        schedule.update(0.09)
    assert one.current == two.current == 1.0
    assert one.state_dict() == two.state_dict()


def test_target_kl_follows_the_error() -> None:
    schedule = schedules.build(TargetKL(start=0.01, target=0.05, rate=0.1))
    expected = 0.01
    # at the target nothing moves; from 0 to twice the target the change is proportional, beyond that capped at `rate`
    for kl, factor in ((0.05, 1.0), (0.075, 1.05), (0.1, 1.1), (5.0, 1.1), (0.0, 0.9), (0.025, 0.95)):
        schedule.update(kl)
        expected *= factor
        assert schedule.current == pytest.approx(expected, rel=1e-14)
    fresh = schedules.build(TargetKL())
    fresh.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert fresh.current == schedule.current


@pytest.mark.parametrize("config", [ADAPTIVE, TargetKL()])
def test_controllers_refuse(config: Adaptive | TargetKL) -> None:
    schedule = schedules.build(config)
    before = schedule.state_dict()
    for gap in (math.nan, math.inf):
        with pytest.raises(UserError, match=f"got {gap}"):
            schedule.update(gap)
    assert schedule.state_dict() == before
    with pytest.raises(UserError, match=f"a {config.kind} schedule follows what training measures"):
        schedules.weights(config, 10)
