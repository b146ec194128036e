"""Ledgers and metric files without a run, made of rows that are checked as the recorder's are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atod_sweep.records import layout, ledger, metrics
from atod_sweep.records.ledger_rows import FORMAT, check_row
from atod_sweep.records.rows import seal

Row = dict[str, Any]
MODELS = {
    role: {"path": f"/cache/{digest}", "digest": digest, "success": success, "built": True, "seconds": 60.0}
    for role, digest, success in (("teacher", "aaaa", 0.6), ("student", "bbbb", 0.16))
}


def study_row(name: str = "small", arms: Iterable[str] = ("a", "b"), **changes: Any) -> Row:
    """The first row of a ledger."""
    arms = list(arms)
    return {
        "event": "study",
        "time": 1795168800.0,
        "id": f"id of {name}",
        "name": name,
        "question": "Which is better?",
        "base": {},
        "reference": arms[0] if arms else "reference",
        "metric": {"name": "eval/success", "last": 1},
        "bars": {},
        "hypotheses": [],
        "arms": arms,
        "controls": [],
        "factors": {},
        "seeds": [0],
        "definition": {"name": name, "arms": arms},
        "definition_hash": "0123456789abcdef",
        "argv": ["/usr/bin/atod-sweep", "run", f"studies/{name}.yaml"],
        "versions": {"torch": "2.13.0"},
        "numerics": 1,
        "git": "319a3db",
        "hardware": {"cpu": "some", "cores": 2, "memory_gb": 16.0, "gpu": None},
        **changes,
    }


def models_row(**roles: Any) -> Row:
    """The row after it: one pair of models."""
    pair = {**MODELS, **roles}
    return {"event": "models", "time": 1795168810.0, "models": pair, "pairs": {"key": pair}}


def trial_row(arm: str = "a", seed: int = 0, state: str = "RUNNING", **changes: Any) -> Row:
    """A row of a trial; of one that has ended, what it always holds then."""
    levels = changes.get("levels", {})
    row: Row = {
        "event": "trial",
        "time": 1795168860.0,
        "trial": "~".join([arm, *levels.values()]) + f"-s{seed}",
        "arm": arm,
        "role": "arm",
        "levels": levels,
        "seed": seed,
        "config_hash": "89abcdef01234567",
        "attempt": 1,
        "state": state,
    }
    ended: Row = {"start_metrics": {"eval/success": 0.2}, "cost": {}, "seconds": 1.0, "worker": "local", "error": None}
    return row | ({} if state == "RUNNING" else ended) | changes


def failed_row(arm: str = "a", seed: int = 0, status: str = "diverged", **changes: Any) -> Row:
    """A row of a trial that failed."""
    error = {
        "status": status,
        "type": "DivergedError",
        "message": "the loss is not a number at step 30",
        "traceback": "Traceback …",
    }
    return trial_row(arm, seed, "FAILED", **{"error": error, **changes})


def configuration_row(arm: str, values: Row, number: int = 0) -> Row:
    """A search proposed this."""
    row: Row = {"event": "configuration", "time": 1795168860.0, "arm": arm, "configuration": f"hash of {arm}"}
    return {**row, "number": number, "params": values, "values": values}


def told_row(arm: str, state: str, values: list[float] | None) -> Row:
    """A search learned this."""
    return {"event": "told", "time": 1795168900.0, "arm": arm, "state": state, "values": values}


def read_ledger(run: Path) -> list[Row]:
    """Its rows, to be changed at will."""
    return [dict(row) for row in ledger.read(run)]


def write_ledger(run: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A ledger of these rows. ValueError for what no ledger holds."""
    rows = list(rows)
    for row in rows:
        check_row(row)
    (run / layout.LEDGER).write_bytes(b"".join(seal(row, FORMAT) for row in rows))


def write_metrics(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A metrics file of these rows."""
    path.write_bytes(b"".join(seal(row, metrics.FORMAT) for row in rows))
