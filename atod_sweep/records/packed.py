"""trials.jsonl.gz: what the trials of a published run left, small enough for a repository, in the place of `trials/`.

    {"format": "atod-sweep/trials/1", "every": 10, "last": 1, "trials": 60, "check": …}
    {"format": …, "trial": "linear-s0", "config": {…}, "rows": [{"phase": "eval", …}, …], "means": {…}, "check": …}
    …

One row for all, then one for each trial (sealed as `rows` has it). Evaluations are there in full. Of training rows
every tenth step is, or fewer, as `every` says, and the `last` ones, which a score may rest on; of the others at most
what was applied at them. The file is a function of its content: it is compressed without a time or a name.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.records import layout
from atod_sweep.records.metrics import MetricRow
from atod_sweep.records.rows import lines_of, seal

FORMAT = "atod-sweep/trials/1"
_REMEDY = "restore the file from a copy, or pack the run again"


@dataclass(frozen=True)
class PackedTrial:
    """A trial's config, its metric rows in the order of their steps, and means over all training steps by name."""

    config: dict[str, Any]
    rows: list[MetricRow]
    means: dict[str, float]


@dataclass(frozen=True)
class Packed:
    """All trials by their ids. Of their training rows there are those of every `every`-th step, and the `last` ones."""

    every: int
    last: int
    trials: dict[str, PackedTrial]

    def trial(self, name: str) -> PackedTrial:
        """What a trial left; an empty one if that was nothing."""
        return self.trials.get(name) or PackedTrial({}, [], {})


def thinned(rows: Sequence[MetricRow], every: int, last: int, whole: Collection[str] = ()) -> list[MetricRow]:
    """All evaluations, and training rows of every `every`-th step and of every number's `last` ones.

    `whole`: names whose values are kept at the other steps, too.
    """
    steps: dict[str, list[int]] = {}
    for row in rows:
        for key in row if row["phase"] == "train" else ():
            steps.setdefault(key, []).append(row["step"])
    ends = {step for told in steps.values() for step in told[-last:]}
    found = []
    for row in rows:
        if row["phase"] != "train" or row["step"] % every == 0 or row["step"] in ends:
            found.append(row)
        elif kept := {key: row[key] for key in whole if key in row}:
            found.append({"phase": "train", "step": row["step"], **kept})
    return found


def write(folder: Path, packed: Packed) -> None:
    """Write the file of a packed run into its folder."""
    rows: list[dict[str, Any]] = [{"every": packed.every, "last": packed.last, "trials": len(packed.trials)}]
    rows += [{"trial": trial, **vars(one)} for trial, one in packed.trials.items()]
    data = b"".join(seal(row, FORMAT) for row in rows)
    (folder / layout.PACKED).write_bytes(gzip.compress(data, mtime=0))


def read(folder: Path) -> Packed | None:
    """The trials of a packed run; None if this is none. UserError if the file is damaged."""
    path = folder / layout.PACKED
    if not path.is_file():
        return None
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged, {error}; {_REMEDY}") from None
    found = lines_of(data, path, FORMAT, lambda line: _REMEDY)
    if bare := [line.number for line in found if not line.sealed]:
        raise UserError(f"{path}:{bare[0]}: damaged, its checksum is gone; {_REMEDY}")
    head, *lines = [line.row for line in found] or [{}]
    try:
        trials = {row["trial"]: PackedTrial(row["config"], row["rows"], row["means"]) for row in lines}
        if len(trials) != head["trials"]:
            raise UserError(f"{path}: holds {len(trials)} trials, and should {head['trials']}; {_REMEDY}")
        return Packed(head["every"], head["last"], trials)
    except KeyError as error:
        raise UserError(f"{path}: damaged, {error} is missing; {_REMEDY}") from None


def refuse(folder: Path, verb: str) -> None:
    """UserError if a folder is that of a packed run, which cannot be `verb` ("resumed")."""
    if (folder / layout.PACKED).is_file():
        raise UserError(f"{folder}: is a packed run, which cannot be {verb}; use the folder in which it was made")
