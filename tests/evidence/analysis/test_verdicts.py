"""Verdicts of whole runs: what they rest on, how they read, and what marks them."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from claim_ledgers import End, write_claims
from ledger_files import read_ledger, write_ledger
from sleep_data import DRUG_1, DRUG_2

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.verdicts import Verdict, judge
from atod_sweep.evidence.report.summary import arm_table, lines, verdict_lines
from atod_sweep.evidence.stats.procedures import SEQUENCE, STUDENT
from atod_sweep.evidence.stats.significance import holm
from atod_sweep.evidence.tables.cells import percent_cell
from atod_sweep.evidence.tables.claims import in_numbers

MakeRun = Callable[..., Path]


def test_a_real_difference_is_found_and_its_line_reads_well(make_run: MakeRun) -> None:
    claim = {"arm": "a", "other": "b"}
    (verdict,) = judge(load(make_run("x", {"a": 0.7, "b": 0.5}, hypotheses=[claim], seeds=5)))
    assert verdict.outcome == "supported"
    assert verdict.holds is True
    assert verdict.line().startswith("a > b: supported at n = 5 (+0.")


def test_an_undecided_claim_says_what_its_seeds_could_have_shown(make_run: MakeRun) -> None:
    (verdict,) = judge(load(make_run("x", {"a": 0.61, "b": 0.6}, hypotheses=[{"arm": "a", "other": "b"}], noise=0.05)))
    assert verdict.outcome == "undecided"
    assert verdict.detectable == pytest.approx(3.264 * verdict.comparison.spread, rel=0.01)
    assert verdict.line().endswith(
        f"; 3 seeds like these show differences of {verdict.detectable:.3f} or more with 80 % power)"
    )


def test_a_verdict_that_many_claims_would_produce_by_chance_is_marked(make_run: MakeRun) -> None:
    """p = 0.026 stands alone; among ten claims, nine of them about equal arms, Holm asks for 0.005."""
    arms = {"a": 0.615} | {f"b{i}": 0.6 for i in range(10)}
    alone = judge(load(make_run("one", arms, seeds=10, hypotheses=[{"arm": "a", "other": "b0"}])))
    claims = [{"arm": "a" if i == 0 else f"b{i}", "other": "b0"} for i in range(10)]
    many = judge(load(make_run("ten", arms, seeds=10, hypotheses=claims)))
    assert alone[0].outcome == many[0].outcome == "supported"
    assert alone[0].survives
    assert many[0].marks[-1] == "not after Holm's correction: decided by itself, but not as one of 10 claims"


def test_one_seed_decides_nothing(make_run: MakeRun) -> None:
    (verdict,) = judge(load(make_run("x", {"a": 0.9, "b": 0.2}, seeds=1, hypotheses=[{"arm": "a", "other": "b"}])))
    assert verdict.line() == "a > b: undecided at n = 1 (+0.70; at least 3 common seeds are needed)"


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
    assert fixed.procedure is STUDENT
    assert sequential.procedure is SEQUENCE
    assert sequential.p == SEQUENCE.p(sequential.comparison.values) > 0.05 > fixed.p
    assert sequential.detectable > fixed.detectable


def test_sequential_verdicts_are_held_against_holm_too(make_run: MakeRun) -> None:
    """p = 0.021 stands alone; among ten claims, nine of them about equal arms, Holm asks for 0.005."""
    arms = {"a": 0.625} | {f"b{i}": 0.6 for i in range(10)}
    pairs = [{"arm": "a" if i == 0 else f"b{i}", "other": "b0"} for i in range(10)]
    (alone,) = judge(load(make_run("one", arms, seeds=10, steps=10, hypotheses=pairs[:1], sequential=True)))
    many = judge(load(make_run("ten", arms, seeds=10, steps=10, hypotheses=pairs, sequential=True)))
    assert 0.005 < alone.p < 0.05
    assert alone.outcome == many[0].outcome == "supported"
    assert alone.survives
    assert many[0].marks[-1] == "not after Holm's correction: decided by itself, but not as one of 10 claims"


def test_a_claim_about_another_metric_at_one_level(make_run: MakeRun) -> None:
    claim = {"arm": "a", "other": "b", "metric": "eval/f1", "at": {"h": "l"}, "margin": 0.05}
    (verdict,) = judge(
        load(make_run("x", {"a": 0.6, "b": 0.5}, factors={"h": {"s": 0, "l": -0.1}}, hypotheses=[claim]))
    )
    assert verdict.claim == "a > b on eval/f1 at h=l by 0.05"
    assert verdict.comparison.metric == "eval/f1"


def test_console_table(make_run: MakeRun) -> None:
    run = make_run("x", {"cosine": 0.66, "linear": 0.6}, reference="linear", failed=[("cosine", 1)])
    table = {cells[0]: cells for cells in arm_table(load(run))}
    assert table["linear"][3] == "reference"
    assert table["cosine"][1] == "2 of 3"
    text = lines(load(run))
    assert text[0].split()[:3] == ["arm", "n", "success"]
    assert len({len(line) for line in text[1:2]}) == 1


# ---- edge cases: how seeds end ---------------------------------------------------------------------------------------

B = [0.500, 0.510, 0.490, 0.505, 0.495, 0.502, 0.498, 0.512, 0.488, 0.500]
SMALL = [b + d for b, d in zip(B, [0.05, 0.06, 0.04, 0.05, 0.06, 0.04, 0.05, 0.06, 0.04, 0.05], strict=True)]
LARGE = [b + 0.4 * (1 + d) for b, d in zip(B, B[1:] + B[:1], strict=True)]  # 0.6 above

SLEEP = [a - b for a, b in zip(DRUG_2, DRUG_1, strict=True)]


def one(folder: Path, a: Sequence[End], b: Sequence[End], **options: Any) -> Verdict:
    (verdict,) = judge(load(write_claims(folder, {"a": a, "b": b}, **options)))
    return verdict


@pytest.mark.parametrize(
    ("a", "b", "word", "n", "marks"),
    [
        (SMALL[:1], B[:1], "undecided", 1, []),
        (SMALL[:2], B[:2], "undecided", 2, []),
        (SMALL[:3], B[:3], "supported", 3, ["barring collapse"]),
        ([0.502, 0.512], [0.5, 0.51], "undecided", 2, []),  # +0.002 twice, once called supported
        ([0.5 + 1 / 512] * 3, [0.5] * 3, "undecided", 3, ["no spread"]),
        (B, B, "undecided", 10, ["no spread"]),
        # Without a result: failed, pruned, NaN, still running. What the seed could have shown undoes a small lead ...
        ([*SMALL[:9], "FAILED"], B, "undecided", 9, ["incomplete"]),
        ([*SMALL[:9], "PRUNED"], B, "undecided", 9, ["incomplete"]),
        ([*SMALL[:9], math.nan], B, "undecided", 9, ["incomplete"]),
        ([*SMALL[:9], "RUNNING"], B, "undecided", 9, ["incomplete"]),
        (SMALL, [*B[:9], "FAILED"], "undecided", 9, ["incomplete"]),
        (["FAILED"] * 3 + SMALL[3:], B, "undecided", 7, ["incomplete"]),
        # ... and not a large one.
        ([*LARGE[:9], "FAILED"], B, "supported", 9, ["incomplete"]),
        (["FAILED"] * 4 + LARGE[4:], B, "undecided", 6, ["incomplete"]),
        # A seed that one side ran and the other did not is missing; one that neither ran is not there.
        (SMALL[:9], B, "undecided", 9, ["incomplete"]),
        (SMALL, B[:3], "undecided", 3, ["incomplete"]),
        ([*SMALL[:9], None], [*B[:9], None], "supported", 9, ["barring collapse", "incomplete"]),
        # Collapsed: below 5 % of what was left to gain, 0.2 + 0.05 * 0.8 = 0.24.
        (SMALL, [0.0, *B[1:]], "supported", 9, ["collapse", "barring collapse"]),
        (SMALL, [0.239, *B[1:]], "supported", 9, ["collapse", "barring collapse"]),
        (SMALL, [0.241, *B[1:]], "supported", 10, ["barring collapse", "skewed"]),  # not collapsed, only far off
        ([0.0, *SMALL[1:]], B, "undecided", 9, ["collapse"]),
        ([0.0, *SMALL[1:]], [0.0, *B[1:]], "supported", 9, ["collapse", "barring collapse"]),
        (SMALL, [0.0] * 10, "supported", 10, ["collapse"]),
        ([0.0] * 9 + SMALL[9:], B, "refuted", 10, ["collapse"]),
        # A value that is no number counts as none; nobody's seeds are the other's.
        ([*SMALL[:9], math.inf], B, "undecided", 9, ["incomplete"]),
        ([*LARGE[:9], -math.inf], B, "supported", 9, ["incomplete"]),
        ([math.nan] * 4, B[:4], "undecided", 0, ["incomplete"]),
        ([*SMALL[:2], None, None], [None, None, *B[2:4]], "undecided", 0, ["incomplete"]),
    ],
)
def test_how_seeds_end(tmp_path: Path, a: Sequence[End], b: Sequence[End], word: str, n: int, marks: list[str]) -> None:
    verdict = one(tmp_path / "run", a, b)
    assert (verdict.outcome, verdict.n) == (word, n)
    assert [mark.split(":")[0] for mark in verdict.marks] == marks
    assert (verdict.p < 0.05) == (word != "undecided")
    assert ("neither side has begun" in " ".join(verdict.marks)) == (a[-1:] == b[-1:] == [None])
    assert all(text for text in (verdict.line(), verdict.sentence()))
    assert "nan" not in verdict.line() + verdict.sentence()


@pytest.mark.parametrize("lead", [0.3, 0.4])
@pytest.mark.parametrize("fallen", [[B[0]], [0.0]], ids=["a collapsed once", "each collapsed once"])
def test_no_ending_of_a_missing_seed_undoes_a_verdict(tmp_path: Path, lead: float, fallen: list[float]) -> None:
    """Had it collapsed, too, collapses would be read at their face value; so they are where it is at its worst."""
    a = [0.0, *(b + lead + 0.01 * (i % 3) for i, b in enumerate(B[1:]))]
    b = [fallen[0], *B[1:]] if fallen[0] else [B[0], 0.0, *B[2:]]
    whole = one(tmp_path / "whole", [*a[:9], 0.0], b)
    holed = one(tmp_path / "holed", [*a[:9], "FAILED"], b)
    assert (whole.outcome, holed.outcome) == ("undecided", "undecided")
    assert one(tmp_path / "before", a[:9], b[:9]).data.only_arm == 1


def test_the_words_say_what_could_overturn_a_verdict(tmp_path: Path) -> None:
    failed = one(tmp_path / "failed", [*SMALL[:9], "FAILED"], B)
    assert "1 seed without a result could overturn the others" in failed.line()
    stands = one(tmp_path / "stands", [*LARGE[:9], "FAILED"], B)
    assert "the verdict stands however they had ended" in stands.marks[0]
    fallen = one(tmp_path / "fallen", [0.0, *SMALL[1:]], B)
    assert "what the other seeds show is undone by those that collapsed" in fallen.sentence()
    assert (
        "a on 1 of 10 seeds (0 to 45 %) and b on 0 of 10 seeds (0 to 31 %); p of equal rates 1.000" in fallen.marks[0]
    )
    assert "9 common seeds on which neither collapsed" in fallen.sentence()


@pytest.mark.parametrize(
    ("metric", "a", "b", "word"),
    [
        ("eval/turns", [5.1, 5.2, 5.0, 5.1], [6.0, 6.2, 6.1, 6.0], "supported"),  # fewer turns are better
        ("eval/turns", [6.0, 6.2, 6.1, 6.0], [5.1, 5.2, 5.0, 5.1], "refuted"),
        ("eval/reward", [0.9, 0.8, 0.9, 0.8], [0.1, 0.2, 0.2, 0.1], "supported"),
        ("eval/turns", [5.1, 5.2, 5.0, "FAILED"], [6.0, 6.2, 6.1, 6.0], "undecided"),  # who knows how many
        ("eval/f1", [0.9, 0.91, 0.92, "FAILED"], [0.1, 0.1, 0.11, 0.12], "undecided"),
    ],
)
def test_every_metric_has_its_direction(
    tmp_path: Path, metric: str, a: Sequence[End], b: Sequence[End], word: str
) -> None:
    verdict = one(tmp_path / "run", a, b, metric=metric, claims=[{"arm": "a", "other": "b", "metric": metric}])
    assert verdict.outcome == word
    if metric == "eval/turns" and word == "supported":
        assert verdict.interval.estimate == pytest.approx(0.975)  # in the claim's direction
        assert verdict.difference.estimate == pytest.approx(-0.975)  # a minus b
        assert "a ends 0.975 below b on eval/turns, of which less is better" in verdict.sentence()
        assert (verdict.comparison.wins, verdict.comparison.losses) == (4, 0)


def test_seeds_that_all_agree_on_a_metric_are_no_sharp_instrument(tmp_path: Path) -> None:
    claim = {"arm": "a", "other": "b", "metric": "retention/tool_use/drop"}
    verdict = one(tmp_path / "run", [0.58] * 5, [0.58] * 5, metric=claim["metric"], claims=[claim])
    assert verdict.outcome == "undecided"
    assert "the same on every seed: the metric may have reached its floor or its ceiling" in verdict.line()


def test_a_metric_that_nobody_reports_is_named(tmp_path: Path) -> None:
    verdict = one(tmp_path / "run", SMALL, B, claims=[{"arm": "a", "other": "b", "metric": "eval/nosuch"}])
    assert verdict.sentence() == "No trial reports eval/nosuch; they report eval/success, so nothing can be said."
    assert "no trial reports eval/nosuch" in verdict.line()


@pytest.mark.parametrize(
    ("metric", "says"),
    [("eval/proxy", "B reports no eval/proxy"), ("cost/teacher_tokens", "B reports no cost/teacher_to")],
)
def test_a_side_that_reports_no_such_number_is_named(tmp_path: Path, metric: str, says: str) -> None:
    write_claims(tmp_path / "run", {"a": SMALL, "b": B}, [{"arm": "a", "other": "b", "metric": metric}])
    rows = read_ledger(tmp_path / "run")
    for row in rows:
        if row.get("arm") == "a":
            row["metrics"] = {**row["metrics"], "eval/proxy": 0.5}
            row["cost"] = {"teacher_tokens": 10.0}
    write_ledger(tmp_path / "run", rows)
    (verdict,) = judge(load(tmp_path / "run"))
    assert verdict.sentence().startswith(says)


def test_a_teacher_is_one_evaluation(tmp_path: Path) -> None:
    verdict = one(tmp_path / "run", SMALL, B, claims=[{"arm": "a", "other": "teacher"}], teacher=0.4)
    assert "10 seeds against the one evaluation of teacher" in verdict.sentence()


def test_early_looks_have_no_limits_and_say_so(tmp_path: Path) -> None:
    verdict = one(tmp_path / "run", SMALL[:3], B[:3], sequential=True)
    assert verdict.line() == "a > b: undecided at n = 3 (+0.05; too few seeds to leave out any difference)"
    assert "95 % anytime-valid interval without limits so far" in verdict.sentence()


def test_verdict_p_and_holm_are_one_tests(tmp_path: Path) -> None:
    """Sixty arms: the printed p, its place in Holm and the outcome come from the same numbers."""
    rises = [0.4 * i / 59 for i in range(60)]
    ends = {f"x{i:02d}": [b + rise for b in SMALL] for i, rise in enumerate(rises)} | {"b": B}
    claims = [{"arm": arm, "other": "b"} for arm in ends if arm != "b"]
    verdicts = judge(load(write_claims(tmp_path / "run", ends, claims)))
    assert [v.p_holm for v in verdicts] == pytest.approx(list(holm([v.p for v in verdicts])))
    table = in_numbers(verdicts)
    for v, row in zip(verdicts, table.rows, strict=True):
        cells = dict(zip(table.header, row, strict=True))
        assert (cells["p"].value, cells["p (Holm)"].value) == (v.p, v.p_holm)
        assert (v.outcome == "supported") == (v.p < 0.05) == (v.interval.low > 0)
        assert v.test in table.caption


def test_a_lead_of_one_task_is_not_undone_on_0_percent_of_seeds(tmp_path: Path) -> None:
    verdict = one(tmp_path / "run", [0.5 + 1 / 512] * 10, [0.5] * 10)
    assert verdict.marks[0].startswith("barring collapse: if a fell to 0 on less than 1 % of seeds")


def test_a_rare_collapse_has_its_price_told(tmp_path: Path) -> None:
    """A lead of 0.05 at a level of 0.55 is gone once a falls to 0 on one seed in eleven."""
    verdict = one(tmp_path / "run", SMALL, B)
    assert verdict.offset == pytest.approx(0.05 / 0.55, rel=1e-6)
    assert verdict.marks == [
        "barring collapse: if a fell to 0 on 9 % of seeds, the mean over all of them would favour it no more; "
        "0 of 10 collapsed, which leaves up to 31 % open"
    ]
    assert one(tmp_path / "large", LARGE, B).marks == []
    assert math.isnan(one(tmp_path / "equal", B, B).offset)


def test_scores_that_lean_mark_the_verdict(tmp_path: Path) -> None:
    tail = [0.0, 0.0, 0.01, 0.01, 0.02, 0.02, 0.03, 0.05, 0.09, 0.2]
    ends = {name: [level + x for x in tail] for name, level in (("b", 0.4), ("c", 0.5), ("d", 0.45))}
    ends["a"] = [0.7 + 0.5 * x + 0.01 * (i % 2) for i, x in enumerate(tail)]
    (verdict,) = judge(load(write_claims(tmp_path / "run", ends)))
    assert verdict.outcome == "supported"
    assert verdict.marks[0].startswith("skewed: scores lean to one side")


def about(metric: str) -> dict[str, Any]:
    return {"metric": metric, "claims": [{"arm": "a", "other": "b", "metric": metric}]}


@pytest.mark.parametrize(
    ("differences", "probability"),
    [
        (SLEEP, 1 - 0.00283289 / 2),  # one minus the one-sided p of the paired t test
        ([-x for x in SLEEP], 0.00283289 / 2),
        ([0.1, 0.1], 0.75),  # two equal seeds are no certainty: their two signs agree by chance half the time
        ([-0.1, -0.1], 0.25),
        ([0.0, 0.0, 0.0], 0.5),
        ([0.1], math.nan),
    ],
)
def test_the_probability_of_better_goes_with_the_interval(
    tmp_path: Path, differences: list[float], probability: float
) -> None:
    v = one(tmp_path / "run", differences, [0.0] * len(differences), **about("eval/reward"))
    assert v.better == pytest.approx(probability, abs=1e-8, nan_ok=True)


def test_equal_seeds_are_no_certainty_where_scores_are_coarse(tmp_path: Path) -> None:
    v = one(tmp_path / "run", [0.602, 0.602], [0.6, 0.6])
    assert 0.5 < v.better < 0.9


@pytest.mark.parametrize("metric", ["eval/restraint", "eval/reward"])
def test_a_metric_at_its_end_says_so(tmp_path: Path, metric: str) -> None:
    v = one(tmp_path / "run", [1.0] * 4, [1.0] * 4, **about(metric))
    assert (v.outcome, v.better) == ("undecided", 0.5)
    assert "floor or its ceiling" in v.shortfall
    assert any(mark.startswith("no spread") for mark in v.marks)


def test_claims_without_data_are_not_among_those_that_holm_counts(tmp_path: Path) -> None:
    claims = [{"arm": "a", "other": "b"}, {"arm": "b", "other": "a"}, {"arm": "c", "other": "b"}]
    ends: dict[str, list[End]] = {"a": [0.7, 0.71, 0.72], "c": [None] * 3, "b": [0.6, 0.6, 0.61]}
    assert {v.claims for v in judge(load(write_claims(tmp_path / "run", ends, claims)))} == {2}


def test_a_pairing_that_removes_next_to_nothing_has_no_sign() -> None:
    assert [percent_cell(x).text for x in (-0.001, -0.04, math.nan, 0.5)] == ["0 %", "−4 %", "–", "50 %"]
