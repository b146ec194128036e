"""Code of the study's own in a bundle (`kind: custom`): which files, what they may import, and when they are run.

A bundle carries the very text that the config's `source` is the hash of. Reading a bundle never runs it: `trust` does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from atod_sweep.config import custom
from atod_sweep.config.custom import Custom
from atod_sweep.errors import UserError
from atod_sweep.export.record import read_text
from atod_sweep.export.schedule.schedule_file import ScheduleFile

PREFIX = "custom_"
FILES = f"{PREFIX}*.py"


def records(schedule: ScheduleFile) -> list[Custom]:
    """Every part of a schedule that is the study's own code."""
    return [record for _, record in custom.customs(schedule)]


def module_name(path: str) -> str:
    """What the module of `package.module:function` is called in a bundle."""
    return PREFIX + path.partition(":")[0].replace(".", "_")


def file_name(path: str) -> str:
    """The file of that module."""
    return f"{module_name(path)}.py"


def texts(schedule: ScheduleFile) -> dict[str, str]:
    """Name -> text of the files of a schedule's own code, from where it is installed, or from the current folder.

    It is taken for the functions that the schedule names, whose hash it has. UserError if it is not there, is no longer
    the code that was run, or imports what a bundle cannot carry.
    """
    found = {}
    for record in records(schedule):
        text = custom.text_of(record.path, [Path.cwd()])
        if custom.digest(text) != record.source:
            raise UserError(
                f"{record.path}: its module has changed since the run, so a bundle cannot carry what was run; restore "
                f"the text whose SHA-256 is {record.source}"
            )
        allowed = {"torch"} if record.on_tensors else set()
        if foreign := sorted(custom.imports(text) - sys.stdlib_module_names - allowed):
            raise UserError(
                f"{record.path}: its module imports {foreign[0]!r}, so a bundle cannot carry it: it shall run on "
                f"{'Python and torch' if allowed else 'plain Python'}; move the function into a module without that"
            )
        found[file_name(record.path)] = text
    trust(schedule, found)
    return found


def read(schedule: ScheduleFile, bundle: Path) -> dict[str, str]:
    """Name -> text of those files in a bundle. UserError if one is missing or not what the schedule names."""
    found = {}
    for record in records(schedule):
        path = bundle / file_name(record.path)
        found[path.name] = read_text(path)
        if custom.digest(found[path.name]) != record.source:
            raise UserError(f"{path}: is not the code that the schedule names (SHA-256 {record.source})")
    return found


def trust(schedule: ScheduleFile, found: Mapping[str, str]) -> None:
    """Run these texts, and take them for the functions that the schedule names."""
    for record in records(schedule):
        custom.function(record.path, record.source, found[file_name(record.path)])
