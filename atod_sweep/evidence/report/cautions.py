"""What speaks against taking a report's numbers at face value, one sentence each."""

from __future__ import annotations

from atod_sweep.evidence.analysis.learning import bar, gain, not_learning
from atod_sweep.evidence.analysis.results import Results, label, trainers, unrecorded
from atod_sweep.evidence.analysis.skew import collapse_law, skew_law
from atod_sweep.evidence.analysis.text import listing, number, plural
from atod_sweep.evidence.analysis.verdicts import sound_scores
from atod_sweep.evidence.stats.sequential import RULE
from atod_sweep.records.metric_names import bounds


def warnings(results: Results, numerics: int | None = None) -> list[str]:
    """Every caution that applies to this run, the gravest first; `numerics` is today's version of the trainer."""
    gaps = len(results.missing())
    cells = len(results.cells)
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
    checks = (_not_learning, _two_trainers, _bare, _extended, _changed, _collapsing, _skewed)
    return found + [text for check in checks if (text := check(results))]


def _not_learning(results: Results) -> str | None:
    metric = results.study.metric.name
    stalled = not_learning(results, metric)
    if not stalled:
        return None
    where = f" at {listing([label(levels) for levels in stalled])}" if len(stalled) < len(results.conditions) else ""
    best = max(gain(results, levels, metric) for levels in stalled)
    told = f"{100 * best:.0f} %" if bounds(metric) else number(best, 3)
    return (
        f"Not learning{where}: no arm gained {bar(results, metric)} (the best gained {told}). "
        "Differences between arms say little there, and no verdict counts it."
    )


def _two_trainers(results: Results) -> str | None:
    kinds = trainers(results)
    if len(kinds) < 2:
        return None
    told = [f"{kind} trained {listing(arms)}" for kind, arms in kinds.items()]
    return f"Two trainers: {', '.join(told)}. A difference between arms of both is the trainers' as well."


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
        f"Seeds were added until the claims were decided{when}, each at 5 % on its own, to the arms of those that were "
        "open. The verdicts use intervals and "
        f"p values that allow for this ({RULE}), and are marked where Holm's correction over all claims disagrees; "
        "other intervals and p values, in tables and pictures, do not allow for it."
    )


def _changed(results: Results) -> str | None:
    first, last = results.study.rows[0], results.study.latest
    changed = [key for key in ("numerics", "versions", "git", "hardware") if first[key] != last[key]]
    return f"The run was continued after a change of: {', '.join(changed)}." if changed else None


def _collapsing(results: Results) -> str | None:
    law = collapse_law(results)
    if law is None:
        return None
    c = law.collapses
    where = f" at {label(c.levels)}" if c.levels else ""
    use = "Every difference here counts such seeds in."
    if results.study.claims:
        use = "Claims are judged by the seeds that did not collapse, and collapses are counted by themselves."
    return (
        f"{c.arm}{where} collapsed on {c.count} of {c.rate.n} seeds, {number(law.drop, 2)} below the others (sd "
        f"{number(law.spread, 3)}): under such a law a 95 % interval of the mean over {c.rate.n} seeds holds the truth "
        f"{100 * law.held:.0f} % of the time, and an arm without such a seed may only not have met it yet. {use}"
    )


def _skewed(results: Results) -> str | None:
    """Skewness must be judged over all arms: an interval fails just where the rare bad seed has not turned up."""
    law = skew_law(results, sound_scores(results))
    if law is None:
        return None
    side = "low" if law.skewness < 0 else "high"
    return (
        f"Some seeds end far {side} of the others (skewness {number(law.skewness, 1)} over all arms, collapses left "
        f"out): under the law of these scores a 95 % interval from {plural(law.n, 'seed')} holds the truth "
        f"{100 * law.held:.0f} % of the time."
    )
