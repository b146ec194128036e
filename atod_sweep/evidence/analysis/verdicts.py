"""From a hypothesis and data to a verdict: supported, refuted, equivalent or undecided.

With d the mean paired difference arm - other, its 95 % interval [low, high], and the margin m of the claim:

| claim | supported | refuted | equivalent |
|---|---|---|---|
| arm > other by m | low > m | high < m | d within (-m, m) |
| arm >= other within m | low > -m | high < -m | |
| arm = other within m | | low > m or high < -m | d within (-m, m) |

"Within (-m, m)" is judged by the 90 % interval, which is what two one-sided tests at 5 % each amount to (Schuirmann
1987). Everything else is undecided, and fewer than two common seeds decide nothing. Where seeds were added until the
claims were decided, both intervals are confidence sequences, which stay honest under that (see `stats.sequential`), and
so are the p values; Student's forecast of the seeds that would decide a claim is not made.
Settings in which no arm learns (see `learning`) are left out; a claim about nothing else gets no verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from atod_sweep.config.study import Hypothesis
from atod_sweep.evidence.analysis.comparisons import Comparison, compare
from atod_sweep.evidence.analysis.learning import LEARNING, not_learning
from atod_sweep.evidence.analysis.results import Claim, Levels, Results, label, matches
from atod_sweep.evidence.analysis.text import estimate, number, plural
from atod_sweep.evidence.stats import power, significance
from atod_sweep.evidence.stats.intervals import Interval, t_interval
from atod_sweep.evidence.stats.sequential import anytime_equivalence, anytime_p, confidence_sequence

Outcome = Literal["supported", "refuted", "equivalent", "undecided", "not learning"]
ALPHA = 0.05


@dataclass(frozen=True)
class Verdict:
    """A claim, the data that bear on it, and what they say."""

    hypothesis: Hypothesis
    registered: bool
    comparison: Comparison
    interval: Interval
    sequential: bool
    outcome: Outcome
    seeds_needed: int | None
    left_out: tuple[Levels, ...] = ()  # conditions of the claim in which no arm learns
    claims: int = 1  # decided together with this one, for Holm's correction
    survives: bool = True

    @property
    def n(self) -> int:
        """Common seeds that the verdict rests on."""
        return len(self.comparison.differences)

    @property
    def p(self) -> float:
        """p of the claim's bound: exact sign-flip test (t test beyond 40 seeds), two one-sided t tests for '='.

        Where seeds were added until the claims were decided: the anytime-valid p that goes with the interval.
        """
        h, values = self.hypothesis, self.comparison.values
        if h.relation == "=":
            return self.equivalence_p
        if self.sequential or self.n > significance.EXACT_LIMIT:
            return self.p_against(_bound(h))
        return significance.sign_flip([value - _bound(h) for value in values])

    def p_against(self, mean: float) -> float:
        """p of one mean difference that goes with the verdict's 95 % interval."""
        return (anytime_p if self.sequential else significance.t_test)(self.comparison.values, mean)

    @property
    def equivalence_p(self) -> float:
        """p of a difference outside (-margin, margin) that goes with the verdict's 90 % interval."""
        test = anytime_equivalence if self.sequential else significance.equivalence
        return test(self.comparison.values, self.hypothesis.margin)

    @property
    def claim(self) -> str:
        """The claim, without what goes without saying."""
        h = self.hypothesis
        at = f" at {', '.join(f'{k}={v}' for k, v in h.at.items())}" if h.at else ""
        margin = f" {'by' if h.relation == '>' else 'within'} {h.margin:g}" if h.margin else ""
        metric = f" on {h.metric}" if h.metric != "eval/success" else ""
        return f"{h.arm} {h.relation} {h.other}{metric}{at}{margin}"

    @property
    def holds(self) -> bool | None:
        """True if the data bear the claim out, False if they contradict it, None if they do not decide it."""
        if self.outcome in ("undecided", "not learning"):
            return None
        return self.outcome == "supported" or (self.outcome == "equivalent" and self.hypothesis.relation == "=")

    @property
    def marks(self) -> list[str]:
        """What a reader must know about the verdict: exploratory, incomplete, one of many, without spread."""
        marks = [] if self.registered else ["exploratory: the claim was added after the run had started"]
        if self.comparison.missing:
            cells = plural(len(self.comparison.missing), "cell")
            marks.append(f"incomplete: {cells} missing, so not every seed counts")
        if self.left_out and self.outcome != "not learning":
            where = "; ".join(label(levels) for levels in self.left_out)
            marks.append(f"partial: without {where}, where no arm gains {LEARNING} success over step 0")
        if not self.survives:
            marks.append(f"not after Holm's correction: decided by itself, but not as one of {self.claims} claims")
        if self.n > 1 and self.comparison.spread == 0:
            marks.append("no spread: the difference is the same on every seed, the interval has no width")
        return marks

    @property
    def shortfall(self) -> str:
        """What would decide an undecided claim; empty for a decided one."""
        if self.outcome != "undecided":
            return ""
        if self.n < 2:
            return "at least 2 common seeds are needed"
        if self.sequential:  # power is that of one look at a fixed number of seeds
            return "more seeds may decide it"
        if self.seeds_needed is None:
            return f"even {power.MOST_SEEDS:,} seeds would not decide a difference this size"
        return f"about {self.seeds_needed} seeds would decide a difference this size"

    def line(self) -> str:
        """`cosine > linear: undecided at n = 3 (about 19 seeds would decide a difference this size)`."""
        if self.outcome == "not learning":
            return f"{self.claim}: not judged (no arm gains {LEARNING} success over step 0)"
        reason = self.shortfall or f"{estimate(self.interval, signed=True)}"
        marks = "".join(f"; {mark.split(':')[0]}" for mark in self.marks)
        return f"{self.claim}: {self.outcome} at n = {self.n} ({reason}{marks})"

    def sentence(self) -> str:
        """The answer in one sentence, with its uncertainty."""
        c, d = self.comparison, self.interval
        if self.outcome == "not learning":
            return (
                f"No arm gains {LEARNING} success over step 0 in this setting, so a difference between {c.arm} and "
                f"{c.other} would say nothing about the method: the claim is not judged."
            )
        if self.n == 0:
            return f"{c.arm} and {c.other} have no seed in common, so nothing can be said."
        direction = "above" if d.estimate >= 0 else "below"
        kind = "anytime-valid interval" if self.sequential else "interval"
        level = f"{100 * d.level:.0f} % {kind}" if self.n > 1 else "no interval from one seed"
        size = f"{c.arm} ends {number(abs(d.estimate), 3)} {direction} {c.other}"
        bounds = f" {number(d.low, 3, True)} to {number(d.high, 3, True)}" if self.n > 1 else ""
        rest = f"; {self.shortfall}" if self.shortfall else ""
        return f"{size} ({level}{bounds}, {plural(self.n, 'common seed')}){rest}."


def judge(results: Results) -> list[Verdict]:
    """The verdict on every claim of the study, in its order.

    A verdict that 5 % per claim allows but Holm's correction over the claims made beforehand does not is marked.
    """
    verdicts = [judge_claim(results, claim) for claim in results.study.claims]
    family = sum(v.registered for v in verdicts)
    adjusted = significance.holm([_p(v) if v.registered else math.nan for v in verdicts])
    return [
        v if v.holds is None or not p > ALPHA else replace(v, claims=family, survives=False)
        for v, p in zip(verdicts, adjusted, strict=True)
    ]


def _p(v: Verdict) -> float:
    """p of the test that the verdict amounts to: below 5 % exactly if the claim is decided."""
    if v.outcome == "equivalent":
        return v.equivalence_p
    h = v.hypothesis
    return v.p_against(math.copysign(h.margin, v.interval.estimate) if h.relation == "=" else _bound(h))


def _bound(h: Hypothesis) -> float:
    """The difference that a one-sided claim must be above."""
    return h.margin if h.relation == ">" else -h.margin


def judge_claim(results: Results, claim: Claim) -> Verdict:
    """The verdict on one claim."""
    h = claim.hypothesis
    metric = results.study.metric.model_copy(update={"name": h.metric})
    left_out = tuple(levels for levels in not_learning(results) if matches(levels, h.at))
    comparison = compare(results, h.arm, h.other, h.at, metric, left_out)
    interval_of = confidence_sequence if results.study.sequential else t_interval
    wide = interval_of(comparison.values, 1 - ALPHA)
    narrow = interval_of(comparison.values, 1 - 2 * ALPHA)
    return Verdict(
        hypothesis=h,
        registered=claim.registered,
        comparison=comparison,
        interval=narrow if h.relation == "=" else wide,
        sequential=results.study.sequential,
        outcome="not learning" if _is_all(results, h, left_out) else decide(h.relation, h.margin, wide, narrow),
        seeds_needed=None if results.study.sequential else _seeds_needed(h, comparison),
        left_out=left_out,
    )


def _is_all(results: Results, h: Hypothesis, left_out: tuple[Levels, ...]) -> bool:
    return all(levels in left_out for levels in results.conditions if matches(levels, h.at))


def decide(relation: str, margin: float, wide: Interval, narrow: Interval) -> Outcome:
    """The table at the top of this file; `wide` is the 95 % interval of the mean difference, `narrow` the 90 % one."""
    if wide.n < 2:
        return "undecided"
    inside = -margin < narrow.low and narrow.high < margin
    if relation == "=":
        outside = wide.low > margin or wide.high < -margin
        return "equivalent" if inside else "refuted" if outside else "undecided"
    bound = margin if relation == ">" else -margin
    if wide.low > bound:
        return "supported"
    if relation == ">" and inside:
        return "equivalent"
    return "refuted" if wide.high < bound else "undecided"


def _seeds_needed(h: Hypothesis, comparison: Comparison) -> int | None:
    """Seeds for 80 % power if difference and spread are as observed."""
    effect, spread = comparison.interval.estimate, comparison.spread
    if math.isnan(spread):
        return None
    if h.relation == "=":
        if abs(effect) < h.margin:
            return power.equivalence_seeds_needed(effect, spread, h.margin, ALPHA)
        return power.seeds_needed(abs(effect) - h.margin, spread, ALPHA)
    return power.seeds_needed(effect - _bound(h), spread, ALPHA)
