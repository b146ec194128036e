"""What the benchmark of sharper comparisons reckons with, on numbers whose variances are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from atod_sweep.sweep.studies.until_decided import Rule
from benchmarks.sharper import open_claims, report, scores


def test_variances_of_seeds_tasks_and_the_rest_are_told_apart():
    rng = np.random.default_rng(0)
    found = [
        report.split(
            rng.normal(0, 0.03, (8, 1)) + rng.normal(0, 0.01, (1, 16)) + rng.normal(0, 0.02, (8, 16))
        )
        for _ in range(400)
    ]  # fmt: skip
    for name, sd in (("seed", 0.03), ("tasks", 0.01), ("rest", 0.02)):
        assert np.mean([getattr(parts, name) for parts in found]) == pytest.approx(sd**2, rel=0.1)


def test_by_hand():
    """Two seeds, two parts: means 0.2 and 0.4 of seeds, 0.25 and 0.35 of parts, nothing left over."""
    parts = report.split(np.array([[0.15, 0.25], [0.35, 0.45]]))
    assert (parts.seed, parts.tasks, parts.rest) == pytest.approx((0.02, 0.005, 0.0))
    parts = report.Parts(seed=0.0004, tasks=0.0002, rest=0.0008)
    assert parts.of_a_seed(512) == pytest.approx(0.0008)  # half of the rest on twice as many tasks
    assert parts.half_width(10, 512) == pytest.approx(2.262157 * math.sqrt(0.00008 + 0.0001))


def test_intervals_hold_the_ratio():
    """Of variances that go in pairs, correlated 0.8 and in truth 1 : 2."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(600):
        x = rng.normal(size=8)
        y = math.sqrt(2) * (0.8 * x + 0.6 * rng.normal(size=8))
        found = report.variance_ratio(x, y)
        hits += found.low < 0.5 < found.high
    assert 0.93 < hits / 600 < 0.97


def test_arms_of_decided_claims_cost_nothing_more():
    found = open_claims.replay("teacher_ceiling", 5, Rule(20, 5))
    assert 170 < found.open < found.everything <= 340  # of 17 arms x 10 to 20 seeds


def test_what_was_recorded_is_whole():
    found = scores.read(report.OUT.parent / "sharper" / "scores.csv")
    assert report.Recorded(found, 200).seeds >= 6
    keys = [(s.steps, s.noise, s.arm, s.seed, s.student, s.evaluation) for s in found]
    assert len(keys) == len(set(keys))
    assert all(0 <= x <= 1 for s in found for x in s.success)
