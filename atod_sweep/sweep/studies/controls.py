"""Baselines that a study can name beside its arms, made from its base config: one function each, and their table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from atod_sweep.config.base import validate, with_overrides
from atod_sweep.config.kinds import kinds, one_each
from atod_sweep.config.objective import Hybrid, Mixed, Mixture, Objective
from atod_sweep.config.train import Train
from atod_sweep.errors import Gathered, UserError
from atod_sweep.objective import schedules

Data = dict[str, Any]
Make = Callable[[Data, str], Data]


def override(data: Data, overrides: Mapping[str, Any], name: str, mistakes: Gathered | None = None) -> Data:
    """A copy of a trainer config's data with dotted keys set. UserError that starts with `name`, or is noted."""
    own = Gathered(name)
    changed = with_overrides(Train, data, overrides, own)
    with mistakes.noted() if mistakes else contextlib.nullcontext():
        own.check()
    return changed


def mean_weight(schedule: Any, steps: int) -> float:
    """Mean of a schedule over the steps of a run. UserError for one that follows a measurement."""
    return sum(schedules.weights(schedule, steps)) / steps


def _constant(key: str, value: float) -> Data:
    return {f"{key}.kind": "constant", f"{key}.start": value}


# ---- what the two forms of the method differ in ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Form:
    """`no_reward`: what switches the reward off beside a teacher's weight of 1; `fixed`: the weight of `fixed_mix`."""

    no_reward: Data
    fixed: Callable[[Train], float]


def _mean_of_the_base(base: Train) -> float:
    assert isinstance(base.objective, Hybrid)
    return mean_weight(base.objective.distill_weight, base.steps)


_FORMS = one_each(
    Mixed,
    {
        "interpolated": _Form(no_reward={}, fixed=lambda _: 0.5),
        "hybrid": _Form(no_reward=_constant("objective.reward_weight", 0.0), fixed=_mean_of_the_base),
    },
)


def _form(data: Data, name: str) -> _Form:
    """The base objective's form; objectives that mix no teacher with reward have no such controls."""
    kind = data["objective"]["kind"]
    if not issubclass(kinds(Objective)[kind], Mixture):
        raise UserError(f"{name}: is made from the base objective's weights, and {kind!r} has none; use interpolated")
    return _FORMS[kind]


# ---- the controls ----------------------------------------------------------------------------------------------------


def _opd(data: Data, name: str) -> Data:
    """Distillation alone, on every turn and to the end: a turn profile below 1 would let reward in again."""
    overrides = {
        **_constant("objective.distill_weight", 1.0),
        "objective.turns.kind": "uniform",
        "objective.turns.value": 1.0,
        **_form(data, name).no_reward,
    }
    return override(data, overrides, name)


def _rl(data: Data, name: str) -> Data:
    """Reward alone. The uniform profile spares the teacher's forward pass that turn weights would need."""
    _form(data, name)
    return override(data, {**_constant("objective.distill_weight", 0.0), "objective.turns.kind": "uniform"}, name)


def _fixed_mix(data: Data, name: str) -> Data:
    """Both signals, never annealed; the turn profile stays the base's."""
    form, base = _form(data, name), validate(Train, data, name)
    try:
        weight = form.fixed(base)
    except UserError as error:
        raise UserError(f"{name}: takes the mean of the base's distill_weight: {error}") from None
    return override(data, _constant("objective.distill_weight", weight), name)


def _teacher(data: Data, name: str) -> Data:
    if data["teacher"]["kind"] == "none":
        raise UserError(f"{name}: the base config has teacher.kind 'none'; name a teacher, or drop this control")
    return data


def _mixture(data: Data, name: str) -> Mixture:
    """The base's objective, which listens to a teacher. UserError for one that does not."""
    _form(data, name)
    objective = validate(Train, data, name).objective
    assert isinstance(objective, Mixture)
    if not objective.taught:
        raise UserError(f"{name}: stands in for a teacher, and objective.distill_weight is 0 in the base; drop it")
    return objective


def _null(kind: str, data: Data, name: str) -> Data:
    """The base, with something else in the place of the teacher's word."""
    _mixture(data, name)
    return override(data, {"objective.stand_in.kind": kind}, name)


def _constant_push(data: Data, name: str) -> Data:
    """The base's weights by step and by turn, without those that follow log-probs of the teacher: there are none."""
    turns = _mixture(data, name).turns
    plain = "thresholds" if turns.by_turn or turns.decays() else "uniform"
    kept = override(data, {"objective.turns.kind": plain}, name) if turns.measured else data
    return _null("constant_push", kept, name)


CONTROLS: dict[str, Make] = {
    "teacher": _teacher,
    "base": lambda data, _: data,  # the student before training, evaluated as the teacher is
    "opd": _opd,
    "rl": _rl,
    "fixed_mix": _fixed_mix,
    "shuffled_teacher": partial(_null, "shuffled_teacher"),
    "random_teacher": partial(_null, "random_teacher"),
    "constant_push": _constant_push,
}


def constant_weight(data: Data, name: str, weight: float) -> Data:
    """The base with a teacher's weight that stays what it is: what `tuned_constant` chooses among (`tuned.py`)."""
    _mixture(data, name)
    return override(data, _constant("objective.distill_weight", weight), name)
