"""The decision table: each boundary from both sides, and every way of reading the data that an outcome must survive."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from atod_sweep.evidence.stats.decision import Data, Relation, Seed, decide, readings, shown
from atod_sweep.evidence.stats.procedures import SEQUENCE, STUDENT, Procedure

# Mean 0.1, sd 0.01, n = 4: the 95 % interval is 0.1 ± 3.18245 * 0.01 / 2 = 0.1 ± 0.01591, the 90 % one 0.1 ± 0.01177.
UP = [0.1 + s * 0.01 * math.sqrt(3) / 2 for s in (1, 1, -1, -1)]
DOWN = [-d for d in UP]


def data(differences: Sequence[float], missing: Sequence[tuple[float, float]] = (), tasks: int | None = None) -> Data:
    return Data([Seed(d) for d in differences], missing, tasks)


def outcome(relation: Relation, margin: float, d: Data, procedure: Procedure = STUDENT) -> str:
    return decide(relation, margin, d, procedure).outcome or "undecided"


@pytest.mark.parametrize(
    ("relation", "margin", "differences", "word"),
    [
        (">", 0.0, UP, "supported"),
        (">", 0.0, DOWN, "refuted"),
        (">", 0.0840, UP, "supported"),
        (">", 0.0842, UP, "undecided"),
        (">", 0.1117, UP, "undecided"),
        (">", 0.1118, UP, "equivalent"),  # the 90 % interval ends at 0.11177: within the margin, though not above it
        (">", 0.1118, DOWN, "equivalent"),
        (">", 0.08, DOWN, "refuted"),
        (">=", 0.0, UP, "supported"),
        (">=", 0.1158, DOWN, "undecided"),
        (">=", 0.1160, DOWN, "supported"),
        (">=", 0.0840, DOWN, "refuted"),
        (">=", 0.0842, DOWN, "undecided"),
        ("=", 0.1117, UP, "undecided"),
        ("=", 0.1118, UP, "equivalent"),
        ("=", 0.1118, DOWN, "equivalent"),
        ("=", 0.0842, UP, "undecided"),
        ("=", 0.0840, UP, "refuted"),
        ("=", 0.0840, DOWN, "refuted"),
    ],
)
def test_boundaries(relation: Relation, margin: float, differences: list[float], word: str) -> None:
    assert outcome(relation, margin, data(differences)) == word


@pytest.mark.parametrize(
    ("n", "word"), [(0, "undecided"), (1, "undecided"), (2, "undecided"), (3, "supported"), (4, "supported")]
)
def test_nothing_is_decided_below_three_seeds(n: int, word: str) -> None:
    differences = [0.100, 0.101, 0.102, 0.103][:n]
    decision = decide(">", 0.0, data(differences), STUDENT)
    assert (decision.outcome or "undecided") == word
    assert math.isnan(decision.p) == (n < 3)


@pytest.mark.parametrize(
    ("differences", "tasks", "word"),
    [
        # Equal differences on few seeds are what scores that are multiples of 1/64 show by chance.
        ([1 / 64] * 2, 64, "undecided"),
        ([1 / 64] * 3, 64, "undecided"),
        ([0.0] * 3, 64, "undecided"),
        ([0.25] * 3, 64, "supported"),  # a quarter of 64 tasks, three times: floor sqrt(0.1875 / 64) = 0.054
        ([1 / 512] * 3, 512, "undecided"),
        ([0.002] * 5, None, "undecided"),  # no resolution known: 2^-4 is no proof
        ([0.002] * 6, None, "supported"),
        ([0.0] * 20, None, "undecided"),
    ],
)
def test_equal_differences(differences: list[float], tasks: int | None, word: str) -> None:
    assert outcome(">", 0.0, data(differences, tasks=tasks)) == word


def test_equal_scores_are_equal_within_a_margin() -> None:
    """All differences 0, ten seeds, 512 tasks: the interval is that of the resolution, ± 0.0005 at 90 %."""
    equal = data([0.0] * 10, tasks=512)
    assert outcome("=", 0.02, equal) == outcome(">", 0.02, equal) == "equivalent"
    assert outcome(">=", 0.02, equal) == "supported"
    assert outcome("=", 0.0004, equal) == "undecided"


@pytest.mark.parametrize("procedure", [STUDENT, SEQUENCE], ids=["student", "sequence"])
@pytest.mark.parametrize("relation", [">", ">=", "="])
def test_outcome_p_and_interval_agree(relation: Relation, procedure: Procedure) -> None:
    """Decided exactly if p is below 5 %, and exactly if the interval that is shown lies on one side of the bound."""
    rng = np.random.default_rng(0)
    for n in (3, 4, 6, 10, 25):
        for _ in range(40):
            d = data(rng.normal(rng.choice([-0.03, 0.0, 0.03]), 0.02, n).tolist())
            decision, interval = decide(relation, 0.02, d, procedure), shown(relation, d, procedure)
            assert (decision.outcome is not None) == (decision.p < 0.05)
            if relation == "=":
                inside = interval.low > -0.02 and interval.high < 0.02
                assert (decision.outcome == "equivalent") == inside
            else:
                edge = 0.02 if relation == ">" else -0.02
                assert (decision.outcome == "supported") == (interval.low > edge)
                assert decision.outcome == "equivalent" or (decision.outcome == "refuted") == (interval.high < edge)


# ---- seeds without a result ----------------------------------------------------------------------------------------

WIDE = [0.40, 0.41, 0.39, 0.42, 0.38, 0.40, 0.41, 0.39, 0.40]
NARROW = [d - 0.35 for d in WIDE]  # mean 0.05


@pytest.mark.parametrize(
    ("relation", "margin", "differences", "missing", "word"),
    [
        (">", 0.0, NARROW, [], "supported"),
        (">", 0.0, NARROW, [(-0.6, 0.4)], "undecided"),  # the seed that failed could have undone it
        (">", 0.0, WIDE, [(-0.6, 0.4)], "supported"),  # not this one: even at -0.6 the interval is above 0
        (">", 0.0, WIDE, [(-0.6, 0.4)] * 3, "undecided"),
        (">", 0.0, [-d for d in NARROW], [(-0.6, 0.4)], "undecided"),
        (">", 0.0, [-d for d in WIDE], [(-0.6, 0.4)], "refuted"),
        (">", 0.0, WIDE, [(-math.inf, math.inf)], "undecided"),  # a metric without bounds
        ("=", 0.1, NARROW, [], "equivalent"),
        ("=", 0.1, NARROW, [(-0.6, 0.4)], "undecided"),
        ("=", 0.1, NARROW, [(0.04, 0.06)], "equivalent"),
        (">=", 0.1, NARROW, [(-0.6, 0.4)], "undecided"),
        (">=", 0.1, NARROW, [(0.0, 1.0)], "supported"),  # at its lowest it still is no worse
        ("=", 0.1, WIDE, [(-0.6, 0.4)], "undecided"),
        ("=", 0.1, WIDE, [(0.3, 0.5)], "refuted"),
    ],
)
def test_the_worst_case_of_missing_seeds(
    relation: Relation, margin: float, differences: list[float], missing: list[tuple[float, float]], word: str
) -> None:
    decision = decide(relation, margin, data(differences, missing), STUDENT)
    assert (decision.outcome or "undecided") == word
    if missing and word == "undecided" and differences != WIDE:
        assert decision.weakest == "worst"


# ---- seeds that collapsed --------------------------------------------------------------------------------------------


def collapsing(differences: Sequence[float], arm: int = 0, other: int = 0, drop: float = 0.6) -> Data:
    """The first seeds collapse: `arm` of them on the arm's side, the next `other` on the other's."""
    seeds = [Seed(d - drop, arm_collapsed=True) for d in differences[:arm]]
    seeds += [Seed(d + drop, other_collapsed=True) for d in differences[arm : arm + other]]
    return Data([*seeds, *(Seed(d) for d in differences[arm + other :])])


LEAD = [0.05, 0.06, 0.04, 0.05, 0.06, 0.04, 0.05, 0.06, 0.04, 0.05]


@pytest.mark.parametrize(
    ("relation", "margin", "arm", "other", "word", "names"),
    [
        (">", 0.0, 0, 0, "supported", ["sound"]),
        (">", 0.0, 0, 2, "supported", ["sound"]),  # those that collapsed were the other's
        (">", 0.0, 1, 0, "undecided", ["sound", "all"]),  # the lead of the others must not hide one's own
        (">", 0.0, 2, 2, "supported", ["sound"]),
        (">", 0.0, 0, 6, "supported", ["all"]),  # what an arm mostly does is no accident
        (">", 0.0, 5, 0, "undecided", ["sound", "all"]),
        (">", 0.0, 6, 0, "refuted", ["all"]),
        (">", 0.0, 9, 0, "refuted", ["all"]),
        (">", 0.0, 0, 10, "supported", ["all"]),
        ("=", 0.1, 0, 0, "equivalent", ["sound"]),
        ("=", 0.1, 1, 0, "undecided", ["sound", "all"]),
        ("=", 0.1, 1, 1, "equivalent", ["sound"]),
        ("=", 0.02, 1, 0, "refuted", ["sound"]),
        (">=", 0.1, 0, 1, "supported", ["sound"]),
        (">=", 0.1, 1, 0, "undecided", ["sound", "all"]),
    ],
)
def test_collapses(relation: Relation, margin: float, arm: int, other: int, word: str, names: list[str]) -> None:
    decision = decide(relation, margin, collapsing(LEAD, arm, other), STUDENT)
    assert (decision.outcome or "undecided") == word
    assert list(decision.p_of) == names


def test_the_other_direction_is_the_mirror_image() -> None:
    for arm, other in ((0, 2), (1, 0), (2, 2), (0, 6), (9, 0)):
        left, right = collapsing(LEAD, arm, other), collapsing(LEAD, arm, other)
        mirrored = Data([Seed(-s.difference, s.other_collapsed, s.arm_collapsed) for s in right.seeds])
        mirror = {"supported": "refuted", "refuted": "supported", "undecided": "undecided"}
        assert outcome(">", 0.0, mirrored) == mirror[outcome(">", 0.0, left)]


def test_a_seed_on_which_both_collapse_counts_for_neither() -> None:
    both = Data([*(Seed(d) for d in LEAD), Seed(0.0, True, True)])
    assert (both.only_arm, both.only_other, len(both.sound)) == (0, 0, 10)


def test_a_reading_is_what_it_is_called() -> None:
    d = Data(collapsing(LEAD, arm=1).seeds, missing=[(-0.5, 0.5)])
    found = readings("supported", ">", d)
    assert [len(found[name][0]) for name in ("sound", "all", "worst")] == [9, 10, 10]
    assert min(found["worst"][0]) == -0.5
    worst = readings("equivalent", "=", d)["worst"]
    assert [(len(x), x.max()) for x in worst] == [
        (10, pytest.approx(0.06)),
        (10, 0.5),
        (11, pytest.approx(0.06)),
        (11, 0.5),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("collapse", [(0.0, 0.0), (0.05, 0.0), (0.15, 0.15), (0.5, 0.5)])
def test_null_studies_are_decided_in_at_most_one_of_twenty(collapse: tuple[float, float]) -> None:
    """No effect among sound seeds, looks at every five seeds: the rates of benchmarks/coverage.md, on fewer studies."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        down = [rng.random(40) < rate for rate in collapse]
        noise = rng.normal(0, 0.04, 40) - 0.4 * (down[0].astype(float) - down[1])
        seeds = [Seed(float(x), bool(a), bool(b)) for x, a, b in zip(noise, *down, strict=True)]
        wrong += any(decide(">", 0.0, Data(seeds[:n]), SEQUENCE).outcome == "supported" for n in range(5, 41, 5))
    assert wrong / 400 <= 0.05
