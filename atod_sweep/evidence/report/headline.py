"""What a reader gets in ten seconds: one answer, verdicts counted, and a row per claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atod_sweep.evidence.analysis.claim_groups import EXPLORATORY, NOT_AFTER_HOLM, beside, groups, is_firm, short_claim
from atod_sweep.evidence.analysis.comparisons import Comparison, against_reference, best_arm, summaries
from atod_sweep.evidence.analysis.results import Results, label
from atod_sweep.evidence.analysis.searches import Searched
from atod_sweep.evidence.analysis.text import estimate, limits, listing, number, plural
from atod_sweep.evidence.analysis.verdict import Verdict
from atod_sweep.evidence.tables.searches import worth

ORDER = ("supported", "equivalent", "refuted", "undecided", "not learning")
MOST = 6  # answers about single arms
SAID = 3  # findings of a kind that the answer names one by one
OTHERS = 4  # arms that one finding names


@dataclass(frozen=True)
class Row:
    """A claim: its verdict in one word and what stands beside it, effect and interval, what these rest on, what is
    lacking for a verdict; all of it in a sentence; reservations."""

    claim: str
    word: str
    beside: tuple[str, ...]
    firm: bool
    effect: str
    interval: str
    basis: str
    shortfall: str
    sentence: str
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """Rows under a title (empty where there is only one group)."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Headline:
    """The answer (a few words, and the rest of its sentence), verdicts with their numbers, and the claims."""

    lead: str
    answer: str
    counts: tuple[tuple[str, int], ...]
    groups: tuple[Rows, ...]


def headline(results: Results, verdicts: Sequence[Verdict], found: Searched | None = None) -> Headline:
    """From the verdicts; of a search its first choice; without claims from all comparisons, or an arm's result."""
    if found and (q := found.quote):
        if not q.first_gain.n:
            return Headline("Undecided", f"{q.first}, the search's first choice, has no result on fresh seeds.", (), ())
        fresh = plural(q.first_gain.n, "fresh seed")
        answer = f"{q.first}, fixed before any fresh seed had run, is {worth(q)} ({fresh})."
        return Headline("Found" if q.told_apart else "Undecided", answer, (), ())
    if not verdicts:
        lead, answer = _without_claims(results)
        return Headline(lead, answer, (), ())
    words = Counter((ORDER.index(v.outcome), _counted(v)) for v in verdicts)
    listed = tuple(Rows(group.title, tuple(map(_row, group.verdicts))) for group in groups(verdicts))
    return Headline(
        _lead(verdicts), _answer(verdicts), tuple((word, n) for (_, word), n in sorted(words.items())), listed
    )


def _counted(v: Verdict) -> str:
    """The verdict's word, and why it does not weigh as others do."""
    if v.holds is None or is_firm(v):
        return v.outcome
    return f"{v.outcome} · {EXPLORATORY if v.survives else NOT_AFTER_HOLM}"


def _row(v: Verdict) -> Row:
    level = " (90 %)" if v.interval.level == 0.9 and v.n > 1 else ""
    return Row(
        claim=short_claim(v),
        word=v.outcome,
        beside=tuple(beside(v)),
        firm=is_firm(v),
        effect=number(v.difference.estimate, 3, signed=True),
        interval=limits(v.difference, 3, signed=True) + level,
        basis=v.basis if v.n else "",
        shortfall=v.shortfall,
        sentence=v.sentence(),
        marks=tuple(v.marks),
    )


# ---- the answer ----------------------------------------------------------------------------------------------------


def _lead(verdicts: Sequence[Verdict]) -> str:
    """How the claims made beforehand fared together. Verdicts that do not stand as one of many count as open."""
    verdicts = [v for v in verdicts if v.registered]
    if not verdicts:
        return "Exploratory"
    holds = [v.holds for v in verdicts if is_firm(v)]
    yes, no, every = holds.count(True), holds.count(False), len(verdicts)
    if yes == every:
        return "Borne out"
    if no == every:
        return "Contradicted"
    if yes and no:
        return "Borne out in part, contradicted in part"
    if yes:
        return "Borne out in part"
    if no:
        return "Not borne out"
    return "Not judged" if all(v.outcome == "not learning" for v in verdicts) else "Undecided"


def _answer(verdicts: Sequence[Verdict]) -> str:
    firm = [v for v in verdicts if is_firm(v)]
    alone = [v for v in verdicts if v.holds is not None and not v.survives]
    late = [v for v in verdicts if v.holds is not None and v.survives and not v.registered]
    unclear = [v for v in verdicts if v.outcome == "undecided"]
    unjudged = len(verdicts) - len(firm) - len(alone) - len(late) - len(unclear)
    parts = _findings(firm, few=False)
    if alone:
        many = f"as one of {plural(alone[0].claims, 'claim')}"
        told = [f"{words} by itself, though not {many}" for words in _findings(alone)]
        parts += told or [f"{plural(len(alone), 'claim')} would be decided each by itself, though not {many}"]
    if late:
        told = [f"{words} by a claim added later" for words in _findings(late)]
        parts += told or [f"{plural(len(late), 'claim')} added later would be decided"]
    if unclear:
        told = [f"whether {words} is open" for words in _findings(unclear)]
        parts += told or [f"{plural(len(unclear), 'claim')} {'is' if len(unclear) == 1 else 'are'} open"]
    if unjudged:
        parts.append(f"{plural(unjudged, 'claim')} cannot be judged, since no arm learns there")
    return "; ".join(parts) + "."


def _findings(verdicts: Sequence[Verdict], few: bool = True) -> list[str]:
    """`a is above b (+0.20) and c (+0.10)`: claims with the same arm, finding and setting together.

    Where there are too many arms, claims with the same other side are: `a (+0.20), b (+0.10) and 6 more are above c`.
    What is still too much is counted, or with `few` not told at all.
    """
    by_arm: dict[tuple[str, ...], list[str]] = {}
    by_other: dict[tuple[str, ...], list[str]] = {}
    for v in verdicts:
        h, (how, rest) = v.hypothesis, _relation(v)
        effect = f" ({number(v.difference.estimate, 3, signed=True)})" if v.n else ""
        by_arm.setdefault((h.arm, how, rest), []).append(f"{h.other}{effect}")
        by_other.setdefault((h.other, how, rest), []).append(f"{h.arm}{effect}")
    said = [f"{arm} is {how} {listing(others, OTHERS)}{rest}" for (arm, how, rest), others in by_arm.items()]
    if len(said) > SAID and not few and len(by_other) <= SAID:
        said = [
            f"{listing(arms, OTHERS)} {'is' if len(arms) == 1 else 'are'} {how} {other}{rest}"
            for (other, how, rest), arms in by_other.items()
        ]
    if len(said) <= SAID:
        return said
    return [] if few else [*said[:SAID], f"and so on in {len(said) - SAID} more cases"]


def _relation(v: Verdict) -> tuple[str, str]:
    """What was found or is in question between the claim's two sides, and what comes after them: margin, setting."""
    h, larger = v.hypothesis, v.comparison.sign > 0
    above, below = ("above", "below") if larger else ("better than", "worse than")
    where = f" at {label(h.at)}" if h.at else ""
    where += f" on {h.metric}" if h.metric != v.usual else ""
    by = f" by {h.margin:g}{where}" if h.margin else where
    match v.outcome, h.relation:
        case "equivalent", _:
            return f"within {h.margin:g} of", where
        case "refuted", "=":
            return "different from", where
        case "refuted", _:
            return (below, where) if v.interval.high < 0 else (f"not {above}", by)
        case _, ">":
            return above, by
        case _, ">=":
            return (f"no more than {h.margin:g} {below}" if h.margin else f"not {below}"), where
        case _:
            return f"within {h.margin:g} of", where


def _without_claims(results: Results) -> tuple[str, str]:
    versus = [c for c in against_reference(results) if c.values]
    if versus:
        return "No claim was made", _comparisons(results, versus)
    found = [
        f"{s.arm}{' at ' + label(s.levels) if s.levels else ''} reaches {results.study.measure} "
        f"{estimate(s.interval, 3)} from {number(s.start, 3)} at step 0 ({plural(len(s.scores), 'seed')})"
        for s in summaries(results)
        if s.scores
    ]
    return ("Result", f"{'; '.join(found[:MOST])}.") if found else ("No answer", "no trial has a result.")


def _comparisons(results: Results, versus: Sequence[Comparison]) -> str:
    clear = sum(c.interval.excludes(0.0) for c in versus)
    sentence = f"{clear} of {plural(len(versus), 'comparison')} with {results.study.reference} "
    sentence += f"{'has' if clear == 1 else 'have'} a 95 % interval that leaves out 0"
    if best := best_arm(results):
        sentence += f"; the best mean is {best.arm}'s, {estimate(best.interval, 3)}"
    return sentence + ", all of it exploratory."
