"""Is a bundle still what its schedule says? Every file is derived again from the schedule, trace and provenance."""

from __future__ import annotations

import csv
import json
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from atod_sweep import __version__
from atod_sweep.config import custom
from atod_sweep.errors import UserError
from atod_sweep.export import attestation, manifest
from atod_sweep.export.record import PROVENANCE, complete, read, read_text, vouched
from atod_sweep.export.schedule import own_code, schedule_file, table, trace
from atod_sweep.export.schedule.bundle import files
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.table import StepWeights
from atod_sweep.export.targets import registry

TOLERANCE = 1e-12
_TABLES = ("schedule.json", "schedule.csv")


def verify(bundle: Path, trust: bool = False, digest: str | None = None) -> list[str]:
    """What was checked, one line each; UserError at the first difference.

    Files are compared byte for byte, the numbers of tables to 1e-12 (libraries round differently in the last bit).
    schedule.py is run only after it was found equal to what is generated here, and a bundle's own code (`kind: custom`)
    only with `trust`: without, such a bundle cannot be verified. `digest`: what the export said of itself.
    """
    schedule = schedule_file.load(bundle)
    record = _provenance(bundle)
    # before anything is derived: a table of other steps than the one that is here may be too much for this machine
    found_csv, found_json = _csv_table(bundle, schedule), _json_table(bundle, schedule)
    recorded = trace.read_csv(bundle / trace.FILE_NAME)
    if missing := [part for part in schedule.measured if getattr(recorded, part) is None]:
        raise UserError(f"{bundle / trace.FILE_NAME}: holds no trace of {missing[0]!r}, which has no closed form")
    own = _own_code(bundle, schedule, trust)
    with complete(bundle):
        expected = files(schedule, recorded, record, own)
    for name, text in expected.items():
        if name not in _TABLES:
            _check_text(bundle / name, text, record)
    rows = table.rows(schedule, recorded)
    _check_numbers(bundle / "schedule.json", found_json, rows)
    _check_numbers(bundle / "schedule.csv", found_csv, rows)
    _check_numbers(bundle / "schedule.py", module_rows(expected["schedule.py"], schedule, own), rows)
    _check_text(bundle / "schedule.json", table.to_json(schedule, found_json), record)
    _check_text(bundle / "schedule.csv", table.to_csv(found_csv), record)
    attestation.check(bundle, record, list(expected))
    return [
        f"{len(expected)} files are what {schedule_file.FILE_NAME} and {PROVENANCE} give",
        f"schedule.json, schedule.csv and schedule.py agree with the trainer at {schedule.steps} steps x "
        f"{schedule.horizon} turns to {TOLERANCE:g}",
        vouched(bundle, digest),
    ]


def _own_code(bundle: Path, schedule: ScheduleFile, trust: bool) -> dict[str, str]:
    """The study's own code in a bundle, taken for what the schedule names; UserError if nobody trusts it."""
    own = own_code.read(schedule, bundle)
    if own and not trust:
        raise UserError(
            f"{bundle}: holds code of its study's own ({', '.join(sorted(own))}, with the hashes that {PROVENANCE} and "
            f"{schedule_file.FILE_NAME} name), which its tables can be derived from only by running it; read it, then "
            "verify again with --trust"
        )
    own_code.trust(schedule, own)
    return own


def module_rows(source: str, schedule: ScheduleFile, own: Mapping[str, str]) -> list[StepWeights]:
    """The table that the text of a schedule.py computes; `own`: the files beside it that it imports."""
    namespace: dict[str, Any] = {"__name__": "schedule"}
    with importable(own):
        exec(compile(source, "schedule.py", "exec"), namespace)
    steps, horizon = schedule.steps, schedule.horizon
    found = []
    for s in range(steps):
        by_turn = [namespace["weights"](s, k, steps, horizon) for k in range(horizon)]
        teacher, reward = (tuple(w[name] for w in by_turn) for name in ("distill", "reward"))
        first = by_turn[0]
        found.append(StepWeights(s, s / steps, first["temperature"], first["beta_kl"], teacher, reward))
    return found


@contextmanager
def importable(files: Mapping[str, str]) -> Iterator[None]:
    """Lets code import the modules of these files, which lie nowhere."""
    names = []
    try:
        for name, text in files.items():
            module = types.ModuleType(name.removesuffix(".py"))
            exec(compile(text, name, "exec"), module.__dict__)
            sys.modules[module.__name__] = module
            names.append(module.__name__)
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _provenance(bundle: Path) -> dict[str, Any]:
    record = read(bundle)
    for key, kind in (("inputs", dict), ("target", str), ("targets", list)):
        if not isinstance(record.get(key), kind):
            raise UserError(f"{bundle / PROVENANCE}: names no {key!r}; export the bundle again")
    for name in record["targets"]:
        if not isinstance(name, str) or name not in registry.TARGETS:
            raise UserError(
                f"{bundle / PROVENANCE}: names the target {name!r}, which is not known here; "
                f"known: {', '.join(registry.TARGETS)}"
            )
    for name, wanted in record["inputs"].items():
        if not (bundle / name).is_file():
            continue  # said where it is needed
        if custom.digest(read_text(bundle / name)) != wanted:
            ends = manifest.line_ends(bundle / name, str(wanted))
            raise UserError(f"{bundle / name}: is not the file that {PROVENANCE} vouches for{ends}; export again")
    return record


def _check_text(path: Path, expected: str, record: dict[str, Any]) -> None:
    if read_text(path) == expected:
        return
    this, other = f"atod-sweep {__version__}", record.get("exported_by")
    hint = f" (made by {other}, this is {this})" if other != this else ""
    hint += manifest.line_ends(path, custom.digest(expected))
    gives = f"what {schedule_file.FILE_NAME} and {PROVENANCE} give"
    raise UserError(f"{path}: differs from {gives}{hint}; export the bundle again")


def _json_table(bundle: Path, schedule: ScheduleFile) -> list[StepWeights]:
    path = bundle / "schedule.json"
    try:
        found = json.loads(read_text(path))
        rows = [
            StepWeights(**{**r, "distill": tuple(r["distill"]), "reward": tuple(r["reward"])}) for r in found["rows"]
        ]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a table: {error!r}; export the bundle again") from None
    _check_steps(path, rows, schedule)
    wanted = json.loads(table.to_json(schedule, []))
    for key in wanted.keys() - {"rows"}:
        if found.get(key) != wanted[key]:
            raise UserError(f"{path}: {key} is {found.get(key)!r}, the schedule gives {wanted[key]!r}")
    return rows


def _csv_table(bundle: Path, schedule: ScheduleFile) -> list[StepWeights]:
    path = bundle / "schedule.csv"
    try:
        rows = [_csv_row(line, schedule.horizon) for line in csv.DictReader(read_text(path).splitlines())]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error!r}; export the bundle again") from None
    _check_steps(path, rows, schedule)
    return rows


def _check_steps(path: Path, rows: Sequence[StepWeights], schedule: ScheduleFile) -> None:
    if len(rows) != schedule.steps:
        raise UserError(f"{path}: holds {len(rows)} steps, the schedule has {schedule.steps}")


def _csv_row(line: dict[str, str], horizon: int) -> StepWeights:
    teacher, reward = (tuple(float(line[f"{name}_turn_{k}"]) for k in range(horizon)) for name in ("distill", "reward"))
    progress, temperature, beta_kl = (float(line[name]) for name in ("progress", "temperature", "beta_kl"))
    return StepWeights(int(line["step"]), progress, temperature, beta_kl, teacher, reward)


def _check_numbers(path: Path, found: Sequence[StepWeights], expected: Sequence[StepWeights]) -> None:
    for got, want in zip(found, expected, strict=True):
        for field, a, b in zip(fields(want), astuple(got), astuple(want), strict=True):
            if not _close(a, b):
                raise UserError(f"{path}: {field.name} at step {want.step} is {a}, the schedule gives {b}")


def _close(a: float | tuple[float, ...], b: float | tuple[float, ...]) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    return isinstance(a, float | int) and isinstance(b, float | int) and abs(a - b) <= TOLERANCE
