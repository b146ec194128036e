"""The code in a bundle: sources of `portable/` with this schedule's numbers filled in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from atod_sweep.config.penalties import Controlled
from atod_sweep.config.schedules import ClosedForm, OfMeasurement, OfProgress
from atod_sweep.config.turns import CustomTurns, TurnProfile
from atod_sweep.export.schedule import own_code
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.trace import Trace
from atod_sweep.objective.profiles import PROFILES
from atod_sweep.objective.shapes import SHAPES

PORTABLE = "atod_sweep.export.portable"
SHIMS = "atod_sweep.export.shims"
CONTROLLERS, TURN_WEIGHTS = RULE_MODULES = ("controllers.py", "turn_weights.py")


def schedule_module(schedule: ScheduleFile, trace: Trace) -> str:
    """schedule.py: the dependency-free module with `weights(step, turn, total_steps, horizon)`."""
    spec = {
        "steps": schedule.steps,
        "horizon": schedule.horizon,
        "measured": list(schedule.measured),
        "distill_weight": _spec(schedule.objective.distill_weight, trace.distill),
        "reward_weight": _spec(schedule.reward_weight, None) if schedule.reward_weight else None,
        "turns": schedule.objective.turns.model_dump(mode="json"),
        "turn_trace": [list(row) for row in trace.turns] if trace.turns else None,
        "beta_kl": _spec(schedule.beta_kl, trace.beta_kl),
        "temperature": _spec(schedule.temperature, None),
    }
    text = fill(PORTABLE, "schedule.py", "SPEC: dict[str, Any] = ", spec)
    return text.replace(_TABLES, _functions(schedule), 1)


_TABLES = "SHAPES: dict[str, Any] = {}\nPROFILES: dict[str, Any] = {}\n"


def _functions(schedule: ScheduleFile) -> str:
    """The sources of the functions that the schedule needs, and the tables that `weights` finds them in."""
    turns = schedule.objective.turns
    kinds = [config.kind for config in schedule.scheduled if isinstance(config, OfProgress)]
    shapes = {kind: SHAPES[kind] for kind in [*kinds, *turns.decays()]}
    profiles = {turns.kind: PROFILES[turns.kind]}
    rows = (*shapes.values(), *profiles.values())
    functions = dict.fromkeys(function for row in rows for function in (*row.uses, row.function))
    own = [record.path for record in own_code.records(schedule) if not record.on_tensors]
    return "\n\n\n".join(
        [
            *([_own_functions(own)] if own else []),
            *(inspect.getsource(function).rstrip() for function in functions),
            _table("SHAPES", {kind: row.function for kind, row in shapes.items()}),
            _table("PROFILES", {kind: row.function for kind, row in profiles.items()}) + "\n",
        ]
    )


def _table(name: str, functions: Mapping[str, Callable[..., Any]]) -> str:
    entries = "".join(f"    {kind!r}: {function.__name__},\n" for kind, function in functions.items())
    return f"{name}: dict[str, Any] = {{\n{entries}}}"


def _own_functions(paths: Sequence[str]) -> str:
    """The study's own functions, by path, under the names that the trainer's functions use."""
    modules = dict.fromkeys(own_code.module_name(path) for path in paths)
    imports = "".join(f"import {module}  # beside this file\n" for module in modules)
    entries = "".join(
        f"    {path!r}: {own_code.module_name(path)}.{path.partition(':')[2]},\n" for path in dict.fromkeys(paths)
    )
    return (
        f"{imports}\nUserError = ValueError\nOWN = {{\n{entries}}}\n\n\n"
        "def function(path: str, source: str) -> Any:\n"
        '    """The function of this schedule\'s own at `path`."""\n    return OWN[path]'
    )


def rule_modules(schedule: ScheduleFile) -> dict[str, str]:
    """Name -> text of the modules that compute the measured parts; none for a closed-form schedule."""
    modules = {}
    parts = {"distill": schedule.objective.distill_weight, "beta_kl": schedule.beta_kl}
    configs = {name: parts[name].model_dump(mode="json") for name in schedule.measured if name in parts}
    if configs:
        modules[CONTROLLERS] = fill(PORTABLE, CONTROLLERS, "CONFIGS: dict[str, dict[str, Any]] = ", configs)
    if "turns" in schedule.measured:
        modules[TURN_WEIGHTS] = _turn_weights(schedule.objective.turns)
    return modules


def _turn_weights(turns: TurnProfile) -> str:
    if not isinstance(turns, CustomTurns):
        return source("atod_sweep.objective", TURN_WEIGHTS)
    module, name = own_code.module_name(turns.path), turns.path.partition(":")[2]
    return (
        f'"""Weights of tokens from log-probs: this schedule\'s own, in {module}.py."""\n\n'
        f"import {module}\n\nWEIGHTS = {{{turns.kind!r}: {module}.{name}}}\n"
    )


def _spec(config: ClosedForm | Controlled, recorded: tuple[float, ...] | None) -> dict[str, Any]:
    if isinstance(config, OfMeasurement):
        return {"kind": "trace", "values": list(recorded or ())}
    return config.model_dump(mode="json")


def fill(package: str, name: str, assignment: str, value: dict[str, Any]) -> str:
    """The text of a source file with `assignment` (ending in "= ") given a value in place of its {}."""
    literal = "{\n" + "".join(f"    {key!r}: {item!r},\n" for key, item in value.items()) + "}"
    return source(package, name).replace(f"{assignment}{{}}", f"{assignment}{literal}", 1)


def source(package: str, name: str) -> str:
    """The text of a source file of this package."""
    return (resources.files(package) / name).read_text(encoding="utf-8")
