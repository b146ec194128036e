"""The weights of a schedule at every step and turn, as numbers, JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from atod_sweep.config.kinds import one_each
from atod_sweep.config.objective import Mixed
from atod_sweep.config.penalties import Controlled
from atod_sweep.config.schedules import ClosedForm, OfMeasurement
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.trace import Trace, csv_text
from atod_sweep.objective import schedules
from atod_sweep.objective.profiles import profile


@dataclass(frozen=True)
class StepWeights:
    """Weights in force at one optimiser step; `distill` and `reward` hold one value per turn."""

    step: int
    progress: float
    temperature: float
    beta_kl: float
    distill: tuple[float, ...]
    reward: tuple[float, ...]


def rows(schedule: ScheduleFile, trace: Trace) -> list[StepWeights]:
    """The table of a schedule by the trainer's own functions; measured parts are replayed from the trace."""
    steps, horizon = schedule.steps, schedule.horizon
    objective, reward_config = schedule.objective, schedule.reward_weight
    teacher = _over_steps(objective.distill_weight, trace.distill, steps)
    beta_kl = _over_steps(schedule.beta_kl, trace.beta_kl, steps)
    reward = _over_steps(reward_config, None, steps) if reward_config else None
    temperature = _over_steps(schedule.temperature, None, steps)
    g_K = profile(objective.turns, horizon)
    turns_SK = _replay(trace.turns, steps) if trace.turns else None
    found = []
    for s in range(steps):
        applied_K = _replay(turns_SK[s], horizon) if turns_SK else g_K
        found.append(
            StepWeights(
                step=s,
                progress=s / steps,
                temperature=temperature[s],
                beta_kl=beta_kl[s],
                distill=tuple(teacher[s] * weight for weight in applied_K),
                reward=tuple(1.0 - teacher[s] * g if reward is None else reward[s] for g in g_K),
            )
        )
    return found


def _over_steps(config: ClosedForm | Controlled, recorded: Sequence[float] | None, steps: int) -> list[float]:
    if isinstance(config, OfMeasurement):
        return _replay(recorded or (), steps)
    return schedules.weights(config, steps)


def _replay(values: Sequence[Any], length: int) -> list[Any]:
    """`length` recorded values at the same fractions of the way; both ends stay ends."""
    last = len(values) - 1
    return [values[round(i * last / (length - 1)) if length > 1 else 0] for i in range(length)]


def symbols(schedule: ScheduleFile) -> dict[str, str]:
    """What the columns are called in the method's formulas."""
    return {**_SYMBOLS[schedule.objective.kind], "beta_kl": "beta_kl(s)", "temperature": "temperature(s)"}


_SYMBOLS = one_each(
    Mixed,
    {
        "interpolated": {"distill": "lambda(s, k) = lambda_time(s) g(k)", "reward": "1 - lambda(s, k)"},
        "hybrid": {"distill": "kappa(s) g(k)", "reward": "rho(s)"},
    },
)


def to_json(schedule: ScheduleFile, table: Sequence[StepWeights]) -> str:
    """The table with its axes in absolute and relative progress, one step a line."""
    head = {
        "format": "atod-sweep/table/1",
        "steps": schedule.steps,
        "horizon": schedule.horizon,
        "symbols": symbols(schedule),
        "open_loop": list(schedule.measured),
        "turns": list(range(schedule.horizon)),
        "turn_progress": [k / schedule.horizon for k in range(schedule.horizon)],
    }
    lines = ",\n".join(f"    {json.dumps(asdict(row))}" for row in table)
    return f'{json.dumps(head, indent=2)[:-2]},\n  "rows": [\n{lines}\n  ]\n}}\n'


def to_csv(table: Sequence[StepWeights]) -> str:
    """One line per step: step, progress (step / steps), temperature, beta_kl, distill and reward turn by turn."""
    turns = range(len(table[0].distill))
    per_turn = [f"{name}_turn_{k}" for name in ("distill", "reward") for k in turns]
    header = ["step", "progress", "temperature", "beta_kl", *per_turn]
    return csv_text(header, ([r.step, r.progress, r.temperature, r.beta_kl, *r.distill, *r.reward] for r in table))
