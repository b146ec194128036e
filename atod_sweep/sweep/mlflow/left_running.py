"""Runs that MLflow shows as running although their process is gone: killed, or with its machine.

A run's process says in tags where it is at work. Whoever opens the experiment next, on the same machine, sees whether
the ledger there is still being written.
"""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger
from atod_sweep.sweep.mlflow.stores import search

_HOST, _FOLDER = "atod.host", "atod.folder"


def at_work(run_dir: Path) -> dict[str, str]:
    """The tags of a run that this process is at work on."""
    return {_HOST: platform.node(), _FOLDER: str(run_dir.resolve())}


def close_left_running(client: Any, experiment: str, own: str) -> None:
    """Close the runs (and their trials) of processes on this machine that are gone; `own`: the id of this run."""
    running = "attributes.status = 'RUNNING'"
    here = f"tags.`{_HOST}` = '{platform.node()}' and tags.`atod.run` != '{own}'"
    for parent in search(client, experiment, f"{running} and {here}"):
        if not _is_abandoned(Path(parent.data.tags[_FOLDER])):
            continue
        children = f"{running} and tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        for run in [*search(client, experiment, children), parent]:
            client.set_terminated(run.info.run_id, "KILLED")


def _is_abandoned(run_dir: Path) -> bool:
    """Whether a run is there that nobody writes."""
    if not (run_dir / layout.LEDGER).is_file():
        return False
    with contextlib.suppress(UserError, OSError), ledger.locked(run_dir):
        return True
    return False
