"""The openings of awkward reports, word for word: `openings/*.md` are what a reader sees first.

After a wanted change: `python tests/evidence/report/test_openings.py` writes them anew; read the difference.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from claim_ledgers import write_claims

from atod_sweep.evidence.report.write import write

OPENINGS = Path(__file__).parent / "openings"
LINES = 24
EVEN = (0.0, 0.01, -0.01, 0.005, -0.005)
HOW = {
    "git": None,
    "versions": {},
    "argv": ["atod-sweep"],
    "models": {},
    "definition_hash": "0",
    "hardware": {"cpu": "c", "cores": 2, "memory_gb": 1.0, "gpu": None},
    "question": "Which arm is best?",
}


def sixty_arms(folder: Path) -> Path:
    """Sixty arms and 59 claims: few differences are there, and hardly any stands as one of so many."""
    ends = {f"arm_{i:02d}": [0.5 + i * i / 40000 + e * (1 + i % 7 / 3) for e in EVEN] for i in range(60)}
    return write_claims(folder, ends, [{"arm": f"arm_{i:02d}", "other": "arm_00"} for i in range(1, 60)], **HOW)


def one_seed(folder: Path) -> Path:
    return write_claims(folder, {"a": [0.7], "b": [0.5]}, **HOW)


def outlier(folder: Path) -> Path:
    """One seed of ten collapses, one claim is ten times as large as the others, one arm lacks a seed."""
    even = [*EVEN, *EVEN[::-1]]
    ends = {
        "a": [0.60 + e for e in even],
        "b": [0.59 - e for e in even[:-1]] + [0.02],
        "c": [0.10 + e for e in even],
        "d": [*[0.57 + 0.3 * e for e in even[:-1]], "FAILED"],
    }
    claims = [
        {"arm": "a", "other": "b"},
        {"arm": "a", "other": "b", "relation": "=", "margin": 0.03},
        {"arm": "a", "other": "c"},
        {"arm": "a", "other": "d", "margin": 0.01},
        {"arm": "a", "other": "teacher"},
    ]
    return write_claims(folder, ends, claims, teacher=0.5, **HOW)


def no_claims(folder: Path) -> Path:
    return write_claims(folder, {"a": [0.6 + e for e in EVEN], "b": [0.5 - e for e in EVEN]}, [], **HOW)


CASES: dict[str, Callable[[Path], Path]] = {
    "sixty_arms": sixty_arms,
    "one_seed": one_seed,
    "outlier": outlier,
    "no_claims": no_claims,
}


def opening(make: Callable[[Path], Path], folder: Path) -> str:
    """The report up to its contents list, and of that no more than the first lines."""
    text = write(make(folder), formats=["md"]).markdown.read_text(encoding="utf-8")
    assert make is not sixty_arms or text.count("\n- **arm_") == 59  # every claim is told, though not all are drawn
    return "".join(text.split("Contents:")[0].splitlines(keepends=True)[:LINES])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("blank_pictures")
def test_opening(name: str, tmp_path: Path) -> None:
    assert opening(CASES[name], tmp_path / name) == (OPENINGS / f"{name}.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
    for case, run in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            (OPENINGS / f"{case}.md").write_text(opening(run, Path(scratch) / case), encoding="utf-8")
