"""What was measured: one row per trial, student and evaluation, appended trial by trial."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Score:
    """Success of one student of one trial under one evaluation, by parts of the task sets; seconds of both."""

    steps: int
    noise: str
    arm: str
    seed: int
    student: str
    evaluation: str
    training_seconds: float
    evaluation_seconds: float
    success: tuple[float, ...]


def read(path: Path) -> list[Score]:
    """All scores of a file; none if it is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [
            Score(
                int(row["steps"]),
                row["noise"],
                row["arm"],
                int(row["seed"]),
                row["student"],
                row["evaluation"],
                float(row["training_seconds"]),
                float(row["evaluation_seconds"]),
                tuple(float(x) for x in row["success"].split()),
            )
            for row in csv.DictReader(file)
        ]


def append(path: Path, scores: list[Score]) -> None:
    """Add a trial's scores in one write."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = [[field.name for field in fields(Score)]] if new else []
        rows = []
        for score in scores:
            told = asdict(score) | {
                "training_seconds": f"{score.training_seconds:.1f}",
                "evaluation_seconds": f"{score.evaluation_seconds:.2f}",
                "success": " ".join(f"{x:g}" for x in score.success),
            }
            rows.append(list(told.values()))
        writer.writerows(head + rows)
