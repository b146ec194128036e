"""What speaks against taking a report's numbers at face value, one sentence each."""

from __future__ import annotations

import math

from atod_sweep.evidence.analysis.comparisons import against_reference, summaries
from atod_sweep.evidence.analysis.learning import LEARNING, gain, not_learning
from atod_sweep.evidence.analysis.results import Results, label, unrecorded
from atod_sweep.evidence.analysis.text import listing, number, plural
from atod_sweep.evidence.stats import significance
from atod_sweep.evidence.stats.sequential import RULE
from atod_sweep.evidence.stats.skewness import pooled_skewness

ALPHA = 0.05
# Percent of 95 % t intervals of a mean that hold the truth on the worse of two skewed laws, by number of seeds; from
# benchmarks/coverage.md, held equal by a test.
SKEWED_COVERAGE = {3: 88, 5: 83, 10: 82, 20: 92}
SKEWNESS = 0.7  # pooled skewness from which scores count as skewed (and two standard errors away from 0)


def warnings(results: Results, numerics: int | None = None) -> list[str]:
    """Every caution that applies to this run, the gravest first; `numerics` is today's version of the trainer."""
    gaps = len(results.missing())
    cells = len(results.arms) * len(results.conditions) * len(results.seeds)
    if gaps == cells:
        return ["No trial has a result: see failures and gaps below."]
    found = []
    if gaps:
        found.append(f"{gaps} of {cells} cells have no result; comparisons that miss some are marked *.")
    if len(results.seeds) == 1:
        found.append("One seed: there is no interval, and nothing can be decided.")
    made = results.study.latest["numerics"]
    if numerics is not None and made != numerics:
        found.append(f"Stale: made with numerics version {made} of the trainer, which is at {numerics} now.")
    checks = (_not_learning, _bare, _extended, _changed, _unreachable, _skewed)
    return found + [text for check in checks if (text := check(results))]


def _not_learning(results: Results) -> str | None:
    stalled = not_learning(results)
    if not stalled:
        return None
    gains = [gain(results, levels) for levels in stalled]
    where = f" at {listing([label(levels) for levels in stalled])}" if len(stalled) < len(results.conditions) else ""
    return (
        f"Not learning{where}: no arm gained {LEARNING} success over step 0 (the best gained {number(max(gains), 3)}). "
        "Differences between arms say little there, and no verdict counts it."
    )


def _bare(results: Results) -> str | None:
    """Trials without their records, as it is when only the ledger was kept."""
    done, lost = unrecorded(results)
    if not lost:
        return None
    if len(lost) == len(done):
        return "The trials' own records are not in this folder: what needs them (curves, schedules, turns) is left out."
    return (
        f"The records of {len(lost)} of {plural(len(done), 'trial')} are not in this folder, or end early: curves, "
        "schedules and turns are drawn from the others alone."
    )


def _extended(results: Results) -> str | None:
    if results.study.sequential:
        return _sequential(results)
    before = len(results.study.rows[0]["seeds"])
    if len(results.seeds) <= before or "search" in results.study.latest:  # a search gets its seeds once it has chosen
        return None
    return (
        f"Seeds were added after the run had started ({before}, then {len(results.seeds)}): looking at results before "
        "adding seeds makes wrong verdicts likelier than 5 %."
    )


def _sequential(results: Results) -> str:
    looks = sorted({len(row["seeds"]) for row in results.ledger if row["event"] == "look"})
    when = f" (looks after {listing([str(seeds) for seeds in looks], 40)} seeds)" if looks else ""
    return (
        f"Seeds were added until the claims were decided{when}, each at 5 % on its own. The verdicts use intervals and "
        f"p values that allow for this ({RULE}), and are marked where Holm's correction over all claims disagrees; "
        "other intervals and p values, in tables and pictures, do not allow for it."
    )


def _changed(results: Results) -> str | None:
    first, last = results.study.rows[0], results.study.latest
    changed = [key for key in ("numerics", "versions", "git", "hardware") if first[key] != last[key]]
    return f"The run was continued after a change of: {', '.join(changed)}." if changed else None


def _unreachable(results: Results) -> str | None:
    """The smallest exact p against the strictest threshold of Holm's procedure."""
    by_condition = [[c for c in against_reference(results) if c.levels == levels] for levels in results.conditions]
    tests = max((len(family) for family in by_condition), default=0)
    n = len(results.seeds)
    if not tests or n < 2 or significance.smallest_p(n) <= ALPHA / tests:
        return None
    needed = math.ceil(1 - math.log2(ALPHA / tests))
    return (
        f"With {n} seeds no exact p can go below {number(significance.smallest_p(n), 4)}, and Holm asks for "
        f"{number(ALPHA / tests, 4)} among {plural(tests, 'comparison')}: the p columns cannot become significant, "
        f"whatever the data; {needed} seeds could."
    )


def _skewed(results: Results) -> str | None:
    """Skewness must be judged over all arms: an interval fails just where the rare bad seed has not turned up."""
    skewness, error = pooled_skewness([list(s.scores.values()) for s in summaries(results)])
    if not abs(skewness) > max(SKEWNESS, 2 * error):
        return None
    n = min((len(s.scores) for s in summaries(results) if s.scores), default=0)
    covered = [percent for seeds, percent in SKEWED_COVERAGE.items() if seeds <= n]
    if not covered or covered[-1] >= 92:
        return None
    side = "low" if skewness < 0 else "high"
    return (
        f"Some seeds end far {side} of the others (skewness {number(skewness, 1)} over all arms): on such scores 95 % "
        f"intervals from {n} seeds have been seen to hold the truth {covered[-1]} % of the time, and an arm without "
        "such a seed may only not have met it yet."
    )
