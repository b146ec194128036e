"""The code in a bundle: sources of `portable/` with this schedule's numbers filled in."""

from __future__ import annotations

from importlib import resources
from typing import Any

from atod_sweep.config.objective import TargetKL
from atod_sweep.config.schedules import Adaptive, ClosedForm
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.trace import Trace

PORTABLE = "atod_sweep.export.portable"
SHIMS = "atod_sweep.export.shims"
CONTROLLERS, TURN_WEIGHTS = RULE_MODULES = ("controllers.py", "turn_weights.py")


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
    return fill(PORTABLE, "schedule.py", "SPEC: dict[str, Any] = ", spec)


def rule_modules(schedule: ScheduleFile) -> dict[str, str]:
    """Name -> text of the modules that compute the measured parts; none for a closed-form schedule."""
    modules = {}
    parts = {"distill": schedule.objective.distill_weight, "beta_kl": schedule.beta_kl}
    configs = {name: parts[name].model_dump(mode="json") for name in schedule.measured if name in parts}
    if configs:
        modules[CONTROLLERS] = fill(PORTABLE, CONTROLLERS, "CONFIGS: dict[str, dict[str, Any]] = ", configs)
    if "turns" in schedule.measured:
        modules[TURN_WEIGHTS] = source("atod_sweep.objective", TURN_WEIGHTS)
    return modules


def _spec(config: ClosedForm | Adaptive | TargetKL, recorded: tuple[float, ...] | None) -> dict[str, Any]:
    if isinstance(config, Adaptive | TargetKL):
        return {"kind": "trace", "values": list(recorded or ())}
    return config.model_dump(mode="json")


def fill(package: str, name: str, assignment: str, value: dict[str, Any]) -> str:
    """The text of a source file with `assignment` (ending in "= ") given a value in place of its {}."""
    literal = "{\n" + "".join(f"    {key!r}: {item!r},\n" for key, item in value.items()) + "}"
    return source(package, name).replace(f"{assignment}{{}}", f"{assignment}{literal}", 1)


def source(package: str, name: str) -> str:
    """The text of a source file of this package."""
    return (resources.files(package) / name).read_text(encoding="utf-8")
