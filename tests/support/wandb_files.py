"""Reads W&B's offline files: records in blocks of 32 KiB, each piece with a checksum, a length and a kind."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FILE_HEADER, _HEADER, _BLOCK = 7, 7, 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def _records(path: Path) -> Iterator[bytes]:
    data, at, whole = path.read_bytes(), _FILE_HEADER, b""
    assert data[:4] == b":W&B"
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + _HEADER])
        if kind == 0 or at + _HEADER + length > len(data):
            return
        piece = data[at + _HEADER : at + _HEADER + length]
        whole = piece if kind in (_FULL, _FIRST) else whole + piece
        at += _HEADER + length
        if kind in (_FULL, _LAST):
            yield whole


def offline_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """By a run's name: its id, group, kind, config, history (rows in order), summary, notes and exit code.

    W&B's service writes the end of a finished run a moment after `finish` has returned: that is waited for.
    """
    for _ in range(600):
        runs = [_run(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]
        if all(run["exit"] is not None for run in runs):
            break
        time.sleep(0.1)
    assert len({run["name"] for run in runs}) == len(runs), "no run twice"
    return {run["name"]: run for run in runs}


def _run(path: Path) -> dict[str, Any]:
    from wandb.proto import wandb_internal_pb2 as wire

    run: dict[str, Any] = {"config": {}, "history": [], "summary": {}, "exit": None, "notes": ""}
    for data in _records(path):
        record = wire.Record()
        record.ParseFromString(data)
        match record.WhichOneof("record_type"):
            case "run":
                told = record.run
                run |= {"id": told.run_id, "group": told.run_group, "kind": told.job_type, "project": told.project}
                run |= {"name": told.display_name, "tags": list(told.tags)}
                run["notes"] = told.notes or run["notes"]
                run["config"] |= _items(told.config.update)
            case "config":
                run["config"] |= _items(record.config.update)
            case "history":
                run["history"].append(_items(record.history.item))
            case "summary":
                run["summary"] |= _items(record.summary.update)
            case "exit":
                run["exit"] = record.exit.exit_code
            case _:
                continue
    return run


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
