"""The benchmark of seeds and tasks builds the intervals that reports print, and its table says what is claimed."""

import re
from pathlib import Path

import numpy as np
import pytest

from atod_sweep.evidence.stats.procedures import STUDENT
from atod_sweep.evidence.stats.task_sets import measured
from benchmarks.task_sets import held

TABLE = Path(__file__).parents[2] / "benchmarks" / "task_sets.md"


def test_its_intervals_are_the_procedures() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores_ST = rng.normal(0, 1, (5, 1)) + rng.normal(0, 1, 8) + rng.normal(0, 1, (5, 8))
        both = STUDENT.over_tasks(measured(scores_ST)).interval(scores_ST.mean(1))
        alone = STUDENT.interval(scores_ST.mean(1))
        told = held(scores_ST[None])
        assert told[:2] == (100.0 * (not alone.excludes(0.0)), 100.0 * (not both.excludes(0.0)))
        assert told[2] == pytest.approx(both.half_width / alone.half_width)


def test_intervals_over_seeds_and_sets_hold_the_truth() -> None:
    rows = re.findall(
        r"\| \d+ \| \d+ \| [\d.]+ \| [\d.]+ \| ([\d.]+) \| ([\d.]+) \|", TABLE.read_text(encoding="utf-8")
    )
    assert len(rows) == 36
    assert all(float(both) >= 95 for _, both in rows)
    assert min(float(alone) for alone, _ in rows) < 60
