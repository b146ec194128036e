"""Bring MLflow up to a run's ledger, after the store was away or on a machine that has MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atod_sweep.errors import UserError
from atod_sweep.records import ledger, packed
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.problems import explain
from atod_sweep.sweep.mlflow.stores import check

_NEWS = 2.0  # seconds between lines that tell how far it is


@contextmanager
def guarded(uri: str, again: str) -> Iterator[None]:
    """Whatever a store raises as a UserError that names the remedy, and `again` as the command to repeat."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{explain(error, uri)}; then again: {again}") from error


def sync(run_dir: Path, uri: str, say: Callable[[str], None] = lambda line: None) -> int:
    """Bring MLflow up to the ledger of a run; the number of trials. `say` gets a line every few seconds.

    UserError if the folder holds no run, or a packed one, if somebody is writing it, or if the store does not take it.
    """
    packed.refuse(run_dir, "recorded in MLflow")
    if ledger.fold(ledger.read(run_dir)).study is None:
        raise ledger.nothing_in(run_dir)
    check(uri)
    with guarded(uri, f"atod-sweep sync {run_dir}"), ledger.locked(run_dir):
        return _sync(run_dir, uri, say)


def _sync(run_dir: Path, uri: str, say: Callable[[str], None]) -> int:
    history = ledger.fold(ledger.read(run_dir))
    assert history.study is not None
    mirror = Mirror(uri, run_dir, history.studies[0] | {"definition_hash": history.study["definition_hash"]}, say)
    mirror.begin()
    total, told = len(history.trials), time.monotonic()
    for number, row in enumerate(history.trials.values()):
        # Nobody is writing: what the ledger left as RUNNING is not.
        mirror.trial({**row, "state": "FAILED"} if row["state"] == "RUNNING" else row)
        if time.monotonic() - told > _NEWS:
            say(f"MLflow: {number + 1} of {total} trials")
            told = time.monotonic()
    mirror.end("FINISHED" if history.count("RUNNING") == 0 else "KILLED")
    return total
