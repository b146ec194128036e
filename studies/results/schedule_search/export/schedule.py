"""The exported schedule: what the teacher, the reward and the penalties weigh at one step and one turn.

Needs nothing but Python. `weights(step, turn, total_steps, horizon)` is all there is to call; steps and turns count
from 0. The schedule keeps its fractions at any other number of steps or turns: asked for `total_steps` other than
SPEC["steps"], a decay over 80 of 150 steps is one over 160 of 300.

Parts that followed measurements while the run was trained (SPEC kind "trace", and SPEC["turn_trace"]) are replayed
OPEN LOOP here: they repeat the recorded run, not the rule. The rule lies beside this file, in controllers.py or
turn_weights.py; pass what it gives as `distill`, `beta_kl` or `turn_weight`.
"""

from __future__ import annotations

import math
from typing import Any

SPEC: dict[str, Any] = {
    'steps': 200,
    'horizon': 8,
    'distill_weight': {'start': 0.5981971529792582, 'end': 0.1536795884058902, 'anneal_fraction': 0.5719565298022922, 'anneal_steps': None, 'hold_fraction': 0.13049828228146815, 'kind': 'linear'},
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
    kind = spec["kind"]
    if kind == "constant":
        return spec["start"]
    if kind == "trace":
        return _replay(spec["values"], step, total_steps)
    if kind in ("step", "piecewise"):
        return _table(spec, min(step / total_steps, 1.0))
    if spec.get("anneal_steps") is None:
        length = spec["anneal_fraction"] * total_steps
    else:
        length = spec["anneal_steps"] * total_steps / SPEC["steps"]
    progress = (step - spec["hold_fraction"] * total_steps) / length
    return _decay(kind, spec["start"], spec["end"], min(max(progress, 0.0), 1.0))


def _decay(shape: str, start: float, end: float, p: float) -> float:
    if shape == "linear":
        return start * (1.0 - p) + end * p
    if shape == "cosine":
        left = (1.0 + math.cos(math.pi * p)) / 2.0
        return start * left + end * (1.0 - left)
    return math.pow(start, 1.0 - p) * math.pow(end, p)


def _table(spec: dict[str, Any], p: float) -> float:
    bounds, values = spec["boundaries"], spec["values"]
    if spec["kind"] == "step":
        return values[sum(p >= bound for bound in bounds)]
    edges = [0.0, *bounds]
    for i in range(len(bounds)):
        if p < edges[i + 1]:
            return _decay("linear", values[i], values[i + 1], (p - edges[i]) / (edges[i + 1] - edges[i]))
    return values[-1]


def _profile(spec: dict[str, Any], turn: int, horizon: int) -> float:
    if spec["kind"] == "uniform":
        return spec["value"]
    if spec["kind"] not in ("thresholds", "product"):
        return 1.0
    early, late = spec["early_turns"], spec["late_turns"]
    early_end = spec["early_fraction"] * horizon if early is None else early * horizon / SPEC["horizon"]
    late_start = spec["late_fraction"] * horizon if late is None else horizon - late * horizon / SPEC["horizon"]
    if spec["shape"] == "step":
        return spec["early"] if turn < late_start else spec["late"]
    share = (turn - (early_end - 1.0)) / (late_start - (early_end - 1.0))
    return _decay(spec["shape"], spec["early"], spec["late"], min(max(share, 0.0), 1.0))


def _replay(values: list[Any], position: int, length: int) -> Any:
    """The recorded value at the same fraction of the way: the first at the first position, the last at the last."""
    if length == 1:
        return values[0]
    return values[min(round(position * (len(values) - 1) / (length - 1)), len(values) - 1)]
