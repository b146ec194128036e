"""The code in a bundle: sources of `portable/` with this schedule's numbers filled in."""

from __future__ import annotations

import pprint
from importlib import resources
from typing import Any

from atod_sweep.config.objective import TargetKL
from atod_sweep.config.schedules import Adaptive, ClosedForm
from atod_sweep.export.schedule_file import ScheduleFile
from atod_sweep.export.trace import Trace


def schedule_module(schedule: ScheduleFile, trace: Trace) -> str:
    """schedule.py: the dependency-free module with `weights(step, turn, total_steps, horizon)`."""
    spec = {
        "steps": schedule.steps,
        "horizon": schedule.horizon,
        "distill_weight": _spec(schedule.objective.distill_weight, trace.distill),
        "reward_weight": _spec(schedule.reward_weight, None) if schedule.reward_weight else None,
        "turns": schedule.objective.turns.model_dump(mode="json"),
        "turn_trace": [list(row) for row in trace.turns] if trace.turns else None,
        "beta_kl": _spec(schedule.beta_kl, trace.beta_kl),
        "temperature": _spec(schedule.temperature, None),
    }
    return _fill("schedule.py", "SPEC: dict[str, Any] = ", spec)


def rule_modules(schedule: ScheduleFile) -> dict[str, str]:
    """Name -> text of the modules that compute the measured parts; none for a closed-form schedule."""
    modules = {}
    parts = {"distill": schedule.objective.distill_weight, "beta_kl": schedule.beta_kl}
    configs = {name: parts[name].model_dump(mode="json") for name in schedule.measured if name in parts}
    if configs:
        modules["controllers.py"] = _fill("controllers.py", "CONFIGS: dict[str, dict[str, Any]] = ", configs)
    if "turns" in schedule.measured:
        source = resources.files("atod_sweep.objective") / "turn_weights.py"
        modules["turn_weights.py"] = source.read_text(encoding="utf-8")
    return modules


def _spec(config: ClosedForm | Adaptive | TargetKL, recorded: tuple[float, ...] | None) -> dict[str, Any]:
    if isinstance(config, Adaptive | TargetKL):
        return {"kind": "trace", "values": list(recorded or ())}
    return config.model_dump(mode="json")


def _fill(name: str, assignment: str, value: dict[str, Any]) -> str:
    source = (resources.files("atod_sweep.export.portable") / name).read_text(encoding="utf-8")
    literal = pprint.pformat(value, width=118, compact=True, sort_dicts=False)
    return source.replace(f"{assignment}{{}}", f"{assignment}{literal}", 1)
