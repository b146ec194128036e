"""The targets by name, what they can carry, and what an export to one of them consists of."""

from __future__ import annotations

from typing import Any

from atod_sweep.errors import UserError, meant
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets import areal, documented, openrlhf, pytorch, tinker_cookbook, trl, trl_distillation, verl
from atod_sweep.export.targets.parts import PARTS, Target, needed

TARGETS: dict[str, Target] = {
    module.TARGET.name: module.TARGET
    for module in (pytorch, trl, trl_distillation, verl, openrlhf, areal, tinker_cookbook)
}


MAPPINGS = "MAPPINGS.md"
EVERY = "all"
NONE = "bundle"


def chosen(name: str, schedule: ScheduleFile, allow_lossy: bool) -> list[str]:
    """Names of the targets that an export `--to name` writes.

    UserError for an unknown target, and for one that cannot carry the schedule unless `allow_lossy`; of "all", those
    that can.
    """
    if name == NONE:
        return []
    if name == EVERY:
        return [name for name, target in TARGETS.items() if _refusal(target, schedule, allow_lossy) is None]
    check(find(name), schedule, allow_lossy)
    return [name]


def find(name: str) -> Target:
    """The target of that name; UserError naming the nearest one."""
    if name in TARGETS:
        return TARGETS[name]
    if name in {mapping.name for mapping in documented.DOCUMENTED}:
        raise UserError(f"{name!r}: only a documented mapping exists, which --to all writes into {MAPPINGS}")
    hint = meant(name.lower(), TARGETS, f"known: {NONE}, {EVERY}, {', '.join(TARGETS)}")
    raise UserError(f"unknown target {name!r}; {hint}")


def losses(target: Target, schedule: ScheduleFile) -> list[str]:
    """What the schedule needs and the target does not have, one phrase each."""
    lost = [part for part in needed(schedule) if target.serves(part).how == "no"]
    return [f"{PARTS[part]}: {target.serves(part).note}" for part in lost]


def check(target: Target, schedule: ScheduleFile, allow_lossy: bool) -> None:
    """UserError if the target cannot carry the schedule and nobody allowed the loss, or knows no way to go without."""
    if refusal := _refusal(target, schedule, allow_lossy):
        raise UserError(refusal)


def _refusal(target: Target, schedule: ScheduleFile, allow_lossy: bool) -> str | None:
    if unknown := [PARTS[part] for part in needed(schedule) if part not in target.carries]:
        return f"{target.name} does not know {unknown[0]!r}, which this schedule needs; use another target"
    lost = losses(target, schedule)
    if not lost or allow_lossy:
        return None
    return (
        f"{target.name} cannot carry {len(lost)} part{'s' if len(lost) > 1 else ''} of this schedule "
        f"({'; '.join(lost)}); use another target, or --allow-lossy"
    )


def files(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, str]:
    """Name -> text of what the export has beside the bundle, for every target in the record."""
    found = {MAPPINGS: documented_mappings()} if record["target"] == EVERY else {}
    for name in record["targets"]:
        found |= TARGETS[name].files(schedule, record) | {f"README.{name}.md": readme(TARGETS[name], schedule)}
    return found


def summary(name: str, schedule: ScheduleFile) -> str:
    """How much of the schedule a target carries, in a few words."""
    how = [TARGETS[name].serves(part).how for part in needed(schedule)]
    missing, replayed = how.count("no"), how.count("table")
    parts = [f"**{missing} of {len(how)} parts not carried**"] if missing else []
    parts += [f"{replayed} of {len(how)} parts replayed open loop"] if replayed else []
    return ", ".join(parts) or "everything carried"


def readme(target: Target, schedule: ScheduleFile) -> str:
    """Markdown: how to launch, what is carried, which step counts."""
    parts = needed(schedule)
    rows = "\n".join(f"| {PARTS[part]} | {target.serves(part).words} |" for part in parts)
    remarks = "\n".join(f"- {remark}" for remark in target.remarks)
    return (
        f"# This schedule in {target.title}\n\nWritten for `{target.package}`; other versions may differ. "
        f"Names in capitals are yours to fill in.\n\n## Launch\n\n{target.launch}\n\n"
        f"## What is carried\n\n| part of this schedule | {target.name} |\n|---|---|\n{rows}\n\n"
        f"{_verdict(target, parts)}\n\n"
        f"## Steps\n\nStep = {target.counter}. The files are for {schedule.steps} steps and {schedule.horizon} turns; "
        f"export again with `--steps` and `--horizon` for others.\n\n## Mind\n\n{remarks}\n"
    )


def _verdict(target: Target, parts: list[str]) -> str:
    how = [target.serves(part).how for part in parts]
    if "no" in how:
        return (
            f"**Lossy export**: {how.count('no')} of {len(how)} parts of this schedule are not carried; what runs is "
            "another method than the one that was studied."
        )
    if "table" in how:
        return "Parts marked `table` replay what the run recorded, open loop; the others are carried."
    return "Every part of this schedule is carried."


def capability_table(schedule: ScheduleFile | None = None) -> str:
    """Markdown: every part (that the schedule needs) against every target."""
    names, parts = list(TARGETS), needed(schedule) if schedule else list(PARTS)
    head = f"| part | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n"
    rows = [f"| {PARTS[part]} | {' | '.join(TARGETS[name].serves(part).how for name in names)} |" for part in parts]
    return head + "\n".join(rows) + "\n"


def documented_mappings() -> str:
    """Markdown: trainers for which only the keys are known."""
    return "\n".join(documented.markdown(mapping) for mapping in documented.DOCUMENTED)
