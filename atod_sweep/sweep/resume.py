"""Go on with an interrupted run, whatever it is, from what its folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger, packed
from atod_sweep.records.redaction import HIDDEN
from atod_sweep.sweep.mlflow.stores import is_in_environment
from atod_sweep.sweep.record.rundir import is_stillborn
from atod_sweep.sweep.searches.run_search import resume_search
from atod_sweep.sweep.studies.run_study import resume_study
from atod_sweep.sweep.work import Options, RunOutcome


def resume_run(run_dir: Path, **options: Any) -> RunOutcome:
    """Finish the study or search in a folder; `options`: fields of `Options`. UserError if there is none.

    Where the run was started with another backend, cluster or store than the default, it goes on there, unless
    `options` say otherwise.
    """
    packed.refuse(run_dir, "resumed")
    row = ledger.fold(ledger.read(run_dir)).study
    if row is None:
        if (run_dir / layout.LEDGER).is_file() or (run_dir.is_dir() and is_stillborn(run_dir)):
            raise UserError(f"{run_dir}: its run stopped before it began; start it again: atod-sweep run STUDY.yaml")
        raise ledger.nothing_in(run_dir)
    finish = resume_search if "search" in row else resume_study
    given = {name: value for name, value in options.items() if value is not None}
    place = {name: value for name, value in row.get("started_with", {}).items() if name not in given}
    if is_in_environment(place.get("tracking_uri")):
        place.pop("tracking_uri")
    if given.get("backend") == "local":
        place.pop("address", None)
    if "address" not in {**place, **given}:
        place.pop("storage", None)
    for name, value in place.items():
        if HIDDEN in str(value):
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{run_dir}: was started with {option} {value}, and no secret is kept; give {option} again")
    return finish(run_dir, row, Options.of(**place, **given))
