"""Which arms rest: seeds that are added until the claims are decided are for the arms of open claims alone.

A look at the claims names those that are open; the seeds that the next study row adds are for their arms at their
levels. Looks of runs that were made before this rule name none: there all arms got all seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atod_sweep.records.ledger_rows import OpenClaim, Row, StudyRow


@dataclass(frozen=True)
class Block:
    """Seeds that were added together, and the claims that they were added for."""

    seeds: frozenset[int]
    open: tuple[OpenClaim, ...]

    def is_for(self, arm: str, levels: Mapping[str, str]) -> bool:
        """Whether one of the claims speaks of the arm at these levels."""
        return any(
            arm in claim["arms"] and all(levels.get(factor) == level for factor, level in claim["at"].items())
            for claim in self.open
        )


def blocks(rows: Iterable[Row]) -> list[Block]:
    """The blocks of the study as it stands: under other arms or claims, all arms get all seeds that there are."""
    found: list[Block] = []
    known: set[int] = set()
    before: StudyRow | None = None
    is_open: list[OpenClaim] | None = None
    for row in rows:
        if row["event"] == "look":
            is_open = row.get("open")
        elif row["event"] == "study":
            seeds = set(row["seeds"])
            if before is None or _question(before) != _question(row):
                found, known = [], set()
            elif is_open is not None and seeds - known:
                found.append(Block(frozenset(seeds - known), tuple(is_open)))
            known |= seeds
            before = row
    return found


def rests(found: Iterable[Block], arm: str, levels: Mapping[str, str], seed: int) -> bool:
    """Whether the arm was left out at these levels when the seed was added."""
    return any(seed in block.seeds and not block.is_for(arm, levels) for block in found)


def _question(row: StudyRow) -> tuple[object, ...]:
    return row["arms"], row["controls"], row["factors"], row["hypotheses"], row.get("sequential")
