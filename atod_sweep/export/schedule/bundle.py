"""The portable bundle of a run's best schedule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atod_sweep.config.custom import digest
from atod_sweep.config.objective import Hybrid
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.export import attestation, manifest
from atod_sweep.export.record import PROVENANCE, dump, read
from atod_sweep.export.schedule import generate, own_code, schedule_file, table, trace
from atod_sweep.export.schedule.best import BestSchedule, choose
from atod_sweep.export.schedule.card import card
from atod_sweep.export.schedule.provenance import provenance
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.trace import Trace
from atod_sweep.export.targets import registry


def write(
    run_dir: Path,
    out: Path,
    steps: int | None = None,
    horizon: int | None = None,
    at: Mapping[str, str] | None = None,
    target: str = registry.NONE,
    allow_lossy: bool = False,
) -> Path:
    """Write the bundle of a run's best schedule into folder `out`, and what `target` needs beside it; return `out`.

    The schedule is rescaled if `steps` or `horizon` is given. UserError if the target cannot carry all of it, unless
    `allow_lossy` ("all" leaves such targets out), and if `out` holds anything but an earlier export of a schedule.
    """
    if target not in (registry.NONE, registry.EVERY):
        registry.find(target)  # complain before anything is read
    results = load(run_dir)
    best = choose(results, at)
    turns = best.schedule.horizon if horizon is None else horizon
    schedule = best.schedule.rescaled(best.schedule.steps if steps is None else steps, turns)
    targets = registry.chosen(target, schedule, allow_lossy)
    recorded = recorded_trace(best)
    own = own_code.texts(schedule)
    record = provenance(results, best, schedule) | {"target": target, "targets": targets}
    record["inputs"] = {name: digest(text) for name, text in _inputs(schedule, recorded, own).items()}
    written = files(schedule, recorded, record, own)
    if out.is_dir() and any(out.iterdir()) and not (out / schedule_file.FILE_NAME).is_file():
        raise UserError(f"{out}: exists and is no exported schedule; choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    for name in {*_optional(record), *(p.name for p in out.glob(own_code.FILES))} - written.keys():
        (out / name).unlink(missing_ok=True)  # left by an earlier export of something else
    for name, text in written.items():
        (out / name).write_bytes(text.encode())
    (out / manifest.SIGNATURE).unlink(missing_ok=True)  # of what was there before
    attestation.write(out, record, list(written))
    manifest.record(run_dir, out, manifest.write(out, [*written, attestation.FILE_NAME]))
    return out


def _optional(record: dict[str, Any]) -> set[str]:
    """Names of the files that some exports have and others do not; they are the same for every schedule."""
    plain = ScheduleFile(steps=1, horizon=1, objective=Hybrid())
    every = registry.files(plain, record | {"target": registry.EVERY, "targets": list(registry.TARGETS)})
    return {*every, *generate.RULE_MODULES, trace.FILE_NAME}


def lines(folder: Path) -> list[str]:
    """What a bundle holds for which target, one line each."""
    schedule = schedule_file.load(folder)
    record = read(folder)
    names = registry.TARGETS if record["target"] == registry.EVERY else record["targets"]
    return [f"bundle           {folder}", f"sha256           {manifest.digest_of(folder)}"] + [
        f"{name:16} {f'README.{name}.md' if name in record['targets'] else 'not written (--allow-lossy)'}: "
        f"{registry.summary(name, schedule).replace('**', '')}"
        for name in names
    ]


def recorded_trace(best: BestSchedule) -> Trace:
    """What the best arm's trials applied where their schedule has no closed form; empty if it has one."""
    return trace.record(best.trials, best.schedule.measured, best.schedule.steps, best.schedule.horizon)


def _inputs(schedule: ScheduleFile, recorded: Trace, own: Mapping[str, str]) -> dict[str, str]:
    inputs = {schedule_file.FILE_NAME: schedule_file.dump(schedule), **own}
    return {**inputs, trace.FILE_NAME: trace.to_csv(recorded)} if schedule.measured else inputs


def files(schedule: ScheduleFile, recorded: Trace, record: dict[str, Any], own: Mapping[str, str]) -> dict[str, str]:
    """Name -> text of every file of a bundle: a function of schedule, trace, provenance and own code alone."""
    rows = table.rows(schedule, recorded)
    return {
        **_inputs(schedule, recorded, own),
        "schedule.json": table.to_json(schedule, rows),
        "schedule.csv": table.to_csv(rows),
        "schedule.py": generate.schedule_module(schedule, recorded),
        **generate.rule_modules(schedule),
        PROVENANCE: dump(record),
        "README.md": card(schedule, record),
        **registry.files(schedule, record),
    }
