"""What a reader gets in ten seconds: an answer per claim, and what to distrust."""

from __future__ import annotations

from dataclasses import dataclass

from atod_sweep.evidence.comparisons import against_reference, best_arm, summaries
from atod_sweep.evidence.results import Results, label
from atod_sweep.evidence.text import estimate, number, plural
from atod_sweep.evidence.verdicts import judge

LEARNING = 0.15  # gain in success over step 0 below which a setting counts as not learning


@dataclass(frozen=True)
class Answer:
    """A claim, one word, one sentence, and its reservations."""

    claim: str
    word: str
    sentence: str
    marks: tuple[str, ...]


def answers(results: Results) -> list[Answer]:
    """One answer per claim; without claims, one per arm against the reference; without a second arm, its result."""
    if results.study.claims:
        return [Answer(v.claim, v.outcome, v.sentence(), tuple(v.marks)) for v in judge(results)]
    versus = [c for c in against_reference(results) if c.values]
    if versus:
        return [_description(results)]
    found = [s for s in summaries(results) if s.scores]
    if not found:
        return [Answer("", "no answer", "No trial has a result.", ())]
    metric = results.study.metric.name.removeprefix("eval/")
    return [
        Answer(
            "",
            "result",
            f"{s.arm}{' at ' + label(s.levels) if s.levels else ''} reaches {metric} {estimate(s.interval, 3)} "
            f"from {number(s.start, 3)} at step 0 ({plural(len(s.scores), 'seed')}).",
            (),
        )
        for s in found[:6]
    ]


def _description(results: Results) -> Answer:
    best = best_arm(results)
    clear = [c for c in against_reference(results) if c.interval.excludes(0.0)]
    compared = len([c for c in against_reference(results) if c.values])
    sentence = (
        f"{len(clear)} of {compared} comparisons with {results.study.reference} have a 95 % interval that leaves out 0"
        + (f"; the best mean is {best.arm}'s, {estimate(best.interval, 3)}." if best else ".")
    )
    return Answer("", "no hypotheses", sentence, ("exploratory: the study file states no hypothesis",))


def warnings(results: Results) -> list[str]:
    """What speaks against taking the numbers at face value."""
    found = []
    gaps = len(results.missing())
    cells = len(results.arms) * len(results.conditions) * len(results.seeds)
    if gaps == cells:
        return ["No trial has a result: see failures and gaps below."]
    if gaps:
        found.append(f"{gaps} of {cells} cells have no result; comparisons that miss some are marked *.")
    if len(results.seeds) == 1:
        found.append("One seed: there is no interval, and nothing can be decided.")
    found += [text for text in (_not_learning(results), _extended(results)) if text]
    return found


def _not_learning(results: Results) -> str | None:
    gains = [s.interval.estimate - s.start for s in summaries(results) if s.scores]
    if results.study.metric.name != "eval/success" or not gains or max(gains) >= LEARNING:
        return None
    return (
        f"No arm gained {LEARNING} success over step 0 (the best gained {number(max(gains), 3)}): this setting barely "
        "learns, and differences between its arms say little."
    )


def _extended(results: Results) -> str | None:
    before = len(results.study.rows[0]["seeds"])
    if len(results.seeds) <= before:
        return None
    return (
        f"Seeds were added after the run had started ({before}, then {len(results.seeds)}): looking at results before "
        "adding seeds makes wrong verdicts likelier than 5 %."
    )
