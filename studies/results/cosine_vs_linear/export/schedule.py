"""The exported schedule: what the teacher, the reward and the penalties weigh at one step and one turn.

Needs nothing but Python. `weights(step, turn, total_steps, horizon)` is all there is to call; steps and turns count
from 0. The schedule keeps its fractions at any other number of steps or turns: asked for `total_steps` other than
SPEC["steps"], a decay over 80 of 150 steps is one over 160 of 300.

Parts that followed measurements while the run was trained (SPEC kind "trace", and SPEC["turn_trace"]) are replayed
OPEN LOOP here: they repeat the recorded run, not the rule. The rule lies beside this file, in controllers.py or
turn_weights.py; pass what it gives as `distill`, `beta_kl` or `turn_weight`.
"""

from __future__ import annotations

import math  # noqa: F401  # for the functions below
from typing import Any

SPEC: dict[str, Any] = {
    'steps': 600,
    'horizon': 14,
    'measured': [],
    'distill_weight': {'start': 1.0, 'end': 0.1, 'anneal_fraction': 0.5333333333333333, 'anneal_steps': None, 'hold_fraction': 0.0, 'kind': 'linear'},
    'reward_weight': None,
    'turns': {'kind': 'uniform', 'value': 1.0},
    'turn_trace': None,
    'beta_kl': {'kind': 'constant', 'start': 0.0},
    'temperature': {'kind': 'constant', 'start': 1.0},
}


def weights(
    step: int,
    turn: int,
    total_steps: int,
    horizon: int,
    distill: float | None = None,
    beta_kl: float | None = None,
    turn_weight: float | None = None,
) -> dict[str, float]:
    """Weights in force at optimiser step 0 .. total_steps - 1 and turn 0 .. horizon - 1 of an episode, as a dict.

    distill: weight of the distillation term; reward: weight of the reward term; beta_kl: coefficient of the KL penalty
    against the initial student; temperature: sampling temperature of the rollouts. Beyond the last step or turn the
    last value holds. `distill` (without the turns' part), `beta_kl` and `turn_weight` (in [0, 1], of this turn and
    trajectory) are live values that take the place of the schedule's own. ValueError outside the domain.
    """
    if step < 0 or turn < 0 or total_steps < 1 or horizon < 1:
        raise ValueError(f"no weights at step {step} of {total_steps}, turn {turn} of {horizon}")
    over_time = _value(SPEC["distill_weight"], step, total_steps) if distill is None else distill
    over_turns = _profile(SPEC["turns"], turn, horizon)
    if turn_weight is not None:
        applied = over_turns * turn_weight
    elif SPEC["turn_trace"]:
        applied = _replay(_replay(SPEC["turn_trace"], step, total_steps), turn, horizon)
    else:
        applied = over_turns
    mixed = SPEC["reward_weight"] is None
    return {
        "distill": over_time * applied,
        "reward": 1.0 - over_time * over_turns if mixed else _value(SPEC["reward_weight"], step, total_steps),
        "beta_kl": _value(SPEC["beta_kl"], step, total_steps) if beta_kl is None else beta_kl,
        "temperature": _value(SPEC["temperature"], step, total_steps),
    }


def _value(spec: dict[str, Any], step: int, total_steps: int) -> float:
    if spec["kind"] == "trace":
        return _replay(spec["values"], step, total_steps)
    numbers = {name: number for name, number in spec.items() if name not in WINDOW}
    return value(spec["kind"], _progress(spec, step, total_steps), **numbers)


WINDOW = ("kind", "anneal_fraction", "anneal_steps", "hold_fraction")  # says when, and not what


def _progress(spec: dict[str, Any], step: int, total_steps: int) -> float:
    if "hold_fraction" not in spec:
        return min(step / total_steps, 1.0)
    if spec["anneal_steps"] is None:
        length = spec["anneal_fraction"] * total_steps
    else:
        length = spec["anneal_steps"] * total_steps / SPEC["steps"]
    return min(max((step - spec["hold_fraction"] * total_steps) / length, 0.0), 1.0)


def _profile(spec: dict[str, Any], turn: int, horizon: int) -> float:
    numbers = {name: number for name, number in spec.items() if name != "kind"}
    for name in numbers:
        if name.endswith("_turns") and numbers[name] is not None:
            numbers[name] = numbers[name] * horizon / SPEC["horizon"]
    return PROFILES[spec["kind"]](turn, horizon, **numbers)


def _replay(values: list[Any], position: int, length: int) -> Any:
    """The recorded value at the same fraction of the way: the first at the first position, the last at the last."""
    if length == 1:
        return values[0]
    return values[min(round(position * (len(values) - 1) / (length - 1)), len(values) - 1)]


# ---- the trainer's own functions, of the kinds in SPEC ---------------------------------------------------------------


def value(kind: str, p: float, **numbers: Any) -> float:
    """The value of a kind of decay at progress p in [0, 1]."""
    return SHAPES[kind](p, **numbers)


def linear(p: float, start: float, end: float) -> float:
    """`start` (1 - p) + `end` p.

    A weighted mean in place of the textbook `start + (end - start) p`, which can miss `end` by a rounding error.

    | p                 | 0   | 0.25  | 0.5  | 0.75  | 1   |
    |-------------------|-----|-------|------|-------|-----|
    | start 1, end 0.1  | 1   | 0.775 | 0.55 | 0.325 | 0.1 |

    >>> [round(linear(p, start=1.0, end=0.1), 6) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [1.0, 0.775, 0.55, 0.325, 0.1]
    """
    return start * (1.0 - p) + end * p


def constant(p: float, start: float) -> float:
    """`start`, whatever the progress p.

    >>> [constant(p, start=0.3) for p in (0.0, 0.5, 1.0)]
    [0.3, 0.3, 0.3]
    """
    return start


def uniform(turn: int, horizon: float, value: float) -> float:
    """`value` on every turn.

    >>> [uniform(turn, horizon=3, value=0.8) for turn in range(3)]
    [0.8, 0.8, 0.8]
    """
    return value


SHAPES: dict[str, Any] = {
    'linear': linear,
    'constant': constant,
}


PROFILES: dict[str, Any] = {
    'uniform': uniform,
}
