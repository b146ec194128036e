"""What a reader gets in ten seconds: an answer per claim."""

from __future__ import annotations

from dataclasses import dataclass

from atod_sweep.evidence.analysis.comparisons import Comparison, against_reference, best_arm, summaries
from atod_sweep.evidence.analysis.results import Results, label
from atod_sweep.evidence.analysis.text import estimate, number, plural
from atod_sweep.evidence.analysis.verdicts import judge

MOST = 6  # answers about single arms


@dataclass(frozen=True)
class Answer:
    """A claim (empty if the study makes none), one word, one sentence, and its reservations."""

    claim: str
    word: str
    sentence: str
    marks: tuple[str, ...] = ()


def answers(results: Results) -> list[Answer]:
    """One answer per claim; without claims, one on all comparisons; without a second arm, its result."""
    if results.study.claims:
        return [Answer(v.claim, v.outcome, v.sentence(), tuple(v.marks)) for v in judge(results)]
    versus = [c for c in against_reference(results) if c.values]
    if versus:
        return [_comparisons(results, versus)]
    metric = results.study.measure
    found = [
        Answer(
            "",
            "result",
            f"{s.arm}{' at ' + label(s.levels) if s.levels else ''} reaches {metric} {estimate(s.interval, 3)} "
            f"from {number(s.start, 3)} at step 0 ({plural(len(s.scores), 'seed')}).",
        )
        for s in summaries(results)
        if s.scores
    ]
    return found[:MOST] or [Answer("", "no answer", "No trial has a result.")]


def _comparisons(results: Results, versus: list[Comparison]) -> Answer:
    clear = sum(c.interval.excludes(0.0) for c in versus)
    sentence = f"{clear} of {plural(len(versus), 'comparison')} with {results.study.reference} "
    sentence += f"{'has' if clear == 1 else 'have'} a 95 % interval that leaves out 0"
    if best := best_arm(results):
        sentence += f"; the best mean is {best.arm}'s, {estimate(best.interval, 3)}"
    return Answer("", "no hypotheses", sentence + ".", ("exploratory: the study file states no hypothesis",))
