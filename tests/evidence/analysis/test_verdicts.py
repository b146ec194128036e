"""The decision table, each boundary from both sides."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from atod_sweep.evidence.analysis.results import load
from atod_sweep.evidence.analysis.text import NOTHING
from atod_sweep.evidence.analysis.verdicts import decide, judge
from atod_sweep.evidence.report.summary import arm_table, lines, verdict_lines
from atod_sweep.evidence.stats.intervals import t_interval
from atod_sweep.evidence.stats.sequential import anytime_p
from atod_sweep.evidence.tables.claims import in_numbers

MakeRun = Callable[..., Path]

# Mean 0.1, sd 0.01, n = 4: the 95 % interval is 0.1 ± 3.18245 * 0.01 / 2 = 0.1 ± 0.01591, the 90 % one 0.1 ± 0.01177.
UP = [0.1 + s * 0.01 * math.sqrt(3) / 2 for s in (1, 1, -1, -1)]
DOWN = [-d for d in UP]


@pytest.mark.parametrize(
    ("relation", "margin", "differences", "outcome"),
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
        ("=", 0.0, [0.0, 0.0, 0.0], "undecided"),
        (">", 0.0, [0.5], "undecided"),
        (">", 0.0, [], "undecided"),
    ],
)
def test_decide(relation: str, margin: float, differences: list[float], outcome: str) -> None:
    assert decide(relation, margin, t_interval(differences, 0.95), t_interval(differences, 0.9)) == outcome


def test_a_real_difference_is_found_and_its_line_reads_well(make_run: MakeRun) -> None:
    claim = {"arm": "a", "other": "b"}
    (verdict,) = judge(load(make_run("x", {"a": 0.7, "b": 0.5}, hypotheses=[claim], seeds=5)))
    assert verdict.outcome == "supported"
    assert verdict.holds is True
    assert verdict.line().startswith("a > b: supported at n = 5 (+0.")


def test_an_undecided_claim_says_how_many_seeds_it_lacks(make_run: MakeRun) -> None:
    (verdict,) = judge(load(make_run("x", {"a": 0.61, "b": 0.6}, hypotheses=[{"arm": "a", "other": "b"}], noise=0.05)))
    assert verdict.outcome == "undecided"
    assert verdict.seeds_needed is not None
    assert verdict.seeds_needed > verdict.n
    assert verdict.line() == (
        f"a > b: undecided at n = 3 (about {verdict.seeds_needed} seeds would decide a difference this size)"
    )


def test_a_verdict_that_many_claims_would_produce_by_chance_is_marked(make_run: MakeRun) -> None:
    """p = 0.026 stands alone; among ten claims, nine of them about equal arms, Holm asks for 0.005."""
    arms = {"a": 0.615} | {f"b{i}": 0.6 for i in range(10)}
    alone = judge(load(make_run("one", arms, seeds=10, hypotheses=[{"arm": "a", "other": "b0"}])))
    claims = [{"arm": "a" if i == 0 else f"b{i}", "other": "b0"} for i in range(10)]
    many = judge(load(make_run("ten", arms, seeds=10, hypotheses=claims)))
    assert alone[0].outcome == many[0].outcome == "supported"
    assert alone[0].marks == []
    assert many[0].marks == ["not after Holm's correction: decided by itself, but not as one of 10 claims"]


def test_one_seed_decides_nothing(make_run: MakeRun) -> None:
    (verdict,) = judge(load(make_run("x", {"a": 0.9, "b": 0.2}, seeds=1, hypotheses=[{"arm": "a", "other": "b"}])))
    assert verdict.line() == "a > b: undecided at n = 1 (at least 2 common seeds are needed)"


def test_missing_cells_and_late_claims_mark_the_verdict(make_run: MakeRun) -> None:
    run = make_run("x", {"a": 0.7, "b": 0.5}, seeds=4, failed=[("b", 2)], late_hypotheses=[{"arm": "a", "other": "b"}])
    (verdict,) = judge(load(run))
    assert verdict.n == 3
    assert [mark.split(":")[0] for mark in verdict.marks] == ["exploratory", "incomplete"]
    assert "exploratory; incomplete" in verdict_lines(load(run))[0]


def test_equivalence_shows_the_interval_it_was_judged_by(make_run: MakeRun) -> None:
    claim = {"arm": "a", "relation": "=", "other": "b", "margin": 0.1}
    (verdict,) = judge(load(make_run("x", {"a": 0.6, "b": 0.6}, seeds=6, hypotheses=[claim])))
    assert verdict.outcome == "equivalent"
    assert verdict.holds is True
    assert "90 % interval" in verdict.sentence()


def test_seeds_added_until_decided_are_judged_by_the_sequential_interval(make_run: MakeRun) -> None:
    """Student's interval of six seeds leaves out 0; the anytime-valid one is 2.1 times as long and does not."""
    options = {"seeds": 6, "hypotheses": [{"arm": "a", "other": "b"}], "noise": 0.1, "seed": 5}
    (fixed,) = judge(load(make_run("x", {"a": 0.62, "b": 0.52}, **options)))
    (sequential,) = judge(load(make_run("y", {"a": 0.62, "b": 0.52}, sequential=True, **options)))
    assert fixed.outcome == "supported"
    assert sequential.outcome == "undecided"
    assert sequential.comparison.values == fixed.comparison.values
    assert "95 % anytime-valid interval" in sequential.sentence()
    assert sequential.p == anytime_p(sequential.comparison.values) > 0.05 > fixed.p


def test_a_sequential_verdict_carries_no_number_of_a_fixed_design(make_run: MakeRun) -> None:
    """Power tells how many seeds one look needs; after several looks neither it nor its p mean what they say."""
    options = {"seeds": 6, "hypotheses": [{"arm": "a", "other": "b"}], "noise": 0.1, "seed": 5}
    (verdict,) = verdicts = judge(load(make_run("x", {"a": 0.62, "b": 0.52}, sequential=True, **options)))
    assert verdict.line() == "a > b: undecided at n = 6 (more seeds may decide it)"
    assert verdict.seeds_needed is None
    table = in_numbers(verdicts)
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["p"].value == cells["p (Holm)"].value == verdict.p
    assert cells["detectable"].text == NOTHING
    assert "Detectable" not in table.caption


def test_sequential_verdicts_are_held_against_holm_too(make_run: MakeRun) -> None:
    """p = 0.021 stands alone; among ten claims, nine of them about equal arms, Holm asks for 0.005."""
    arms = {"a": 0.625} | {f"b{i}": 0.6 for i in range(10)}
    pairs = [{"arm": "a" if i == 0 else f"b{i}", "other": "b0"} for i in range(10)]
    (alone,) = judge(load(make_run("one", arms, seeds=10, steps=10, hypotheses=pairs[:1], sequential=True)))
    many = judge(load(make_run("ten", arms, seeds=10, steps=10, hypotheses=pairs, sequential=True)))
    assert 0.005 < alone.p < 0.05
    assert alone.outcome == many[0].outcome == "supported"
    assert alone.marks == []
    assert many[0].marks == ["not after Holm's correction: decided by itself, but not as one of 10 claims"]


def test_a_claim_about_another_metric_at_one_level(make_run: MakeRun) -> None:
    claim = {"arm": "a", "other": "b", "metric": "eval/f1", "at": {"h": "l"}, "margin": 0.05}
    (verdict,) = judge(
        load(make_run("x", {"a": 0.6, "b": 0.5}, factors={"h": {"s": 0, "l": -0.1}}, hypotheses=[claim]))
    )
    assert verdict.claim == "a > b on eval/f1 at h=l by 0.05"
    assert verdict.comparison.metric == "eval/f1"


def test_console_table(make_run: MakeRun) -> None:
    run = make_run("x", {"cosine": 0.66, "linear": 0.6}, reference="linear", failed=[("cosine", 1)])
    table = {row.arm: row for row in arm_table(load(run))}
    assert table["linear"].difference is None
    assert table["linear"].cells()[3] == "reference"
    assert table["cosine"].cells()[1] == "2 of 3"
    assert (table["cosine"].wins, table["cosine"].losses) == (2, 0)
    text = lines(load(run))
    assert text[0].split()[:3] == ["arm", "n", "success"]
    assert len({len(line) for line in text[1:2]}) == 1
