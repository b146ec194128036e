"""One answer over all claims, verdicts counted, and what stands in a verdict's chip."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from claim_ledgers import write_claims

from atod_sweep.evidence.analysis.claim_groups import groups, short_claim
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.searches import searched
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.report.glossary import changes, terms
from atod_sweep.evidence.report.headline import Headline, headline

MakeRun = Callable[..., Path]
NOISE = (0.0, 0.01, -0.01, 0.005, -0.005, 0.0, 0.01, -0.01)
MORE = (0.012, -0.02, 0.016, -0.012, 0.02, 0.008, -0.014, -0.01)


def arm(level: float, noise: Sequence[float] = NOISE) -> list[float]:
    return [level + e for e in noise]


ENDS = {"good": arm(0.8), "same": arm(0.703, MORE), "rival": arm(0.7), "bad": arm(0.5), "vague": arm(0.71, MORE)}


def opening(folder: Path, *claims: dict[str, Any], **study: Any) -> Headline:
    results = load(write_claims(folder, ENDS, claims, **study))
    return headline(results, judge(results))


def claim(text: str, **more: Any) -> dict[str, Any]:
    a, relation, b = text.split()
    return {"arm": a, "relation": relation, "other": b, **more}


YES, NO = claim("good > rival"), claim("bad > rival")
OPEN, EQUAL = claim("vague > rival"), claim("same = rival", margin=0.03)


@pytest.mark.parametrize(
    ("claims", "lead"),
    [
        ([YES], "Borne out"),
        ([YES, EQUAL], "Borne out"),
        ([NO], "Contradicted"),
        ([YES, OPEN], "Borne out in part"),
        ([NO, OPEN], "Not borne out"),
        ([YES, NO, OPEN], "Borne out in part, contradicted in part"),
        ([OPEN], "Undecided"),
    ],
)
def test_how_the_claims_fared_together(tmp_path: Path, claims: list[dict[str, Any]], lead: str) -> None:
    assert opening(tmp_path / "run", *claims).lead == lead


@pytest.mark.parametrize(
    ("claims", "answer"),
    [
        ([YES, claim("good > bad")], "good is above rival (+0.100) and bad (+0.300)."),
        ([NO], "bad is below rival (−0.200)."),
        ([claim("good > rival", margin=0.2)], "good is within 0.2 of rival (+0.100)."),
        ([claim("good > rival", margin=0.05)], "good is above rival (+0.100) by 0.05."),
        ([claim("good >= rival", margin=0.02)], "good is no more than 0.02 below rival (+0.100)."),
        ([EQUAL], "same is within 0.03 of rival (+0.003)."),
        ([claim("bad = rival", margin=0.03)], "bad is different from rival (−0.200)."),
        ([OPEN, YES], "good is above rival (+0.100); whether vague is above rival (+0.010) is open."),
    ],
)
def test_the_answer_is_one_sentence(tmp_path: Path, claims: list[dict[str, Any]], answer: str) -> None:
    assert opening(tmp_path / "run", *claims).answer == answer


def test_where_little_is_better_it_says_better(tmp_path: Path) -> None:
    results = load(
        write_claims(tmp_path / "run", ENDS, [claim("bad > rival", metric="eval/turns")], metric="eval/turns")
    )
    assert headline(results, judge(results)).answer == "bad is better than rival (−0.200) on eval/turns."


def test_verdicts_are_counted_in_order(tmp_path: Path) -> None:
    assert opening(tmp_path / "run", OPEN, NO, YES, EQUAL, claim("good > bad")).counts == (
        ("supported", 2),
        ("equivalent", 1),
        ("refuted", 1),
        ("undecided", 1),
    )


def test_what_stands_in_a_chip(tmp_path: Path, make_run: MakeRun) -> None:
    """p = 0.016 by itself is 0.064 as the smallest of four; a failed seed could overturn the other four."""
    ends: dict[str, list[Any]] = {"good": [0.55, 0.52, 0.51, 0.55, 0.53], "rival": [0.5] * 5}
    ends |= {"flat": [0.5, 0.52, 0.48, 0.51, 0.5], "gap": [0.58, 0.57, 0.58, 0.59, "FAILED"]}
    claims = [claim("good > rival"), claim("flat > rival"), claim("gap > rival"), claim("rival > flat")]
    results = load(write_claims(tmp_path / "run", ends, claims, tasks=None))
    found = headline(results, judge(results))
    assert [(row.word, row.beside, row.firm) for row in found.groups[0].rows] == [
        ("supported", ("not after Holm",), False),
        ("undecided", (), False),
        ("undecided", ("incomplete",), False),
        ("undecided", (), False),
    ]
    assert found.counts[0] == ("supported · not after Holm", 1)
    assert found.lead == "Undecided"
    assert "good is above rival (+0.032) by itself, though not as one of 4 claims" in found.answer
    late = load(make_run("late", {"a": 0.9, "b": 0.5}, late_hypotheses=[{"arm": "a", "other": "b"}], seeds=5, steps=10))
    (row,) = headline(late, judge(late)).groups[0].rows
    assert (row.beside, row.firm) == (("exploratory",), False)


def test_a_claim_that_was_added_later_bears_nothing_out(make_run: MakeRun) -> None:
    late = [{"arm": "a", "other": "b"}]
    before: list[dict[str, Any]] = [{"arm": "c", "other": "b"}]
    arms = {"b": 0.5, "a": 0.9, "c": 0.5}
    found = {
        name: headline(
            results := load(make_run(name, arms, late_hypotheses=late, seeds=5, steps=10, **more)), judge(results)
        )
        for name, more in {"alone": {}, "beside": {"hypotheses": before}}.items()
    }
    assert {name: opening.lead for name, opening in found.items()} == {"alone": "Exploratory", "beside": "Undecided"}
    assert "a is above b (+0.387" in found["beside"].answer
    assert ") by a claim added later; whether c is above b" in found["beside"].answer
    assert found["beside"].counts == (("supported · exploratory", 1), ("undecided", 1))


def test_claims_are_grouped_by_metric_and_setting(make_run: MakeRun) -> None:
    claims = [
        {"arm": "a", "other": "b", "at": {"h": "s"}},
        {"arm": "a", "other": "b", "metric": "eval/turns"},
        {"arm": "a", "other": "b", "at": {"h": "l"}, "relation": "=", "margin": 0.1},
        {"arm": "b", "other": "a", "at": {"h": "s"}},
    ]
    run = make_run("run", {"a": 0.6, "b": 0.5}, factors={"h": {"s": 0, "l": 0.1}}, hypotheses=claims, steps=10)
    found = groups(judge(load(run)))
    assert [(g.title, [short_claim(v) for v in g.verdicts]) for g in found] == [
        ("eval/success, h=s", ["a > b", "b > a"]),
        ("eval/success, h=l", ["a = b within 0.1"]),
        ("eval/turns, in all settings together", ["a > b"]),
    ]


def test_words_that_a_stranger_meets_are_explained(make_run: MakeRun) -> None:
    definition = {
        "base": {"evaluation": {"tasks": 512}},
        "arms": {
            "a": {"objective.turns.kind": "t_dur"},
            "b": {"objective.distill_weight.end.match_mean_of": "a"},
            "c": {},
        },
    }
    controls = {"opd": 0.4, "fixed_mix": 0.5}
    run = make_run("run", {"a": 0.6, "b": 0.5, "c": 0.5}, controls=controls, definition=definition, steps=10)
    results = load(run)
    assert list(terms(results)) == ["eval/success", "teacher", "opd", "fixed_mix", "t_dur"]
    assert terms(results)["eval/success"] == "share of 512 held-out tasks that are solved"
    assert changes(results) == {
        "a": "turns.kind: t_dur",
        "b": "distill_weight.end: as needed for the mean of a",
        "c": "the base config as it is",
    }


def test_a_search_answers_with_the_choice_that_no_fresh_seed_had_a_hand_in(make_search: MakeRun) -> None:
    results = load(make_search("search", 9))
    found = headline(results, [], searched(results))
    assert found.lead == "Found"
    assert re.fullmatch(
        r"c00\d, fixed before .* is \+0\.\d+ \[.*\] better than the reference \(5 fresh seeds\)\.", found.answer
    )
