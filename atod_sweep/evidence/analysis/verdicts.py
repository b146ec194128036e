"""From hypotheses and data to verdicts: supported, refuted, equivalent, undecided, or not judged.

What decides a claim stands in `stats.decision`: one procedure, on the seeds that did not collapse, that must stand up
to what collapsed or is missing. The procedure is the paired t test, or where seeds were added until the claims were
decided the anytime-valid one (`stats.sequential`), for all claims of a study alike. Where results depend on the draw
of tasks (final sets; a teacher that was evaluated on one set) that is in the interval, too (`stats.task_sets`).
Settings in which no arm learns (see `learning`) are left out; a claim about nothing else gets no verdict.
"""

from __future__ import annotations

import math
from dataclasses import replace

from atod_sweep.config.study import Hypothesis, Metric
from atod_sweep.evidence.analysis.claim_data import claim_data, collapses, has_collapsed, task_error
from atod_sweep.evidence.analysis.comparisons import compare
from atod_sweep.evidence.analysis.learning import bar, not_learning
from atod_sweep.evidence.analysis.results import Claim, Results, in_ledger, matches
from atod_sweep.evidence.analysis.text import listing
from atod_sweep.evidence.analysis.verdict import Verdict
from atod_sweep.evidence.stats.decision import decide, shown
from atod_sweep.evidence.stats.procedures import SEQUENCE, STUDENT
from atod_sweep.evidence.stats.significance import holm
from atod_sweep.evidence.stats.skewness import beyond_doubt
from atod_sweep.records.metric_names import is_settled

__all__ = ["Verdict", "judge", "judge_claim"]


def judge(results: Results) -> list[Verdict]:
    """The verdict on every claim of the study, in its order; Holm's correction runs over the claims made beforehand."""
    skewness = beyond_doubt(sound_scores(results))
    verdicts = [replace(judge_claim(results, claim), skewness=skewness) for claim in results.study.claims]
    family = [v.p if v.registered and not v.is_left_out else math.nan for v in verdicts]
    count = sum(not math.isnan(p) for p in family)
    return [replace(v, p_holm=float(p), claims=count) for v, p in zip(verdicts, holm(family), strict=True)]


def judge_claim(results: Results, claim: Claim) -> Verdict:
    """The verdict on one claim, by itself."""
    h = claim.hypothesis
    metric = results.study.metric.model_copy(update={"name": h.metric} | ({"last": 1} if is_settled(h.metric) else {}))
    left_out = tuple(levels for levels in not_learning(results, h.metric) if matches(levels, h.at))
    comparison = compare(results, h.arm, h.other, h.at, metric, left_out)
    data = claim_data(results, comparison, metric, left_out)
    procedure = (SEQUENCE if results.study.sequential else STUDENT).over_tasks(task_error(comparison, data))
    trained = [arm for arm in (h.arm, h.other) if arm in results.arms]
    return Verdict(
        hypothesis=h,
        registered=claim.registered,
        comparison=comparison,
        data=data,
        procedure=procedure,
        interval=shown(h.relation, data, procedure),
        decision=decide(h.relation, h.margin, data, procedure),
        collapses=tuple(collapses(results, arm, h.at, left_out) for arm in trained),
        left_out=left_out,
        bar=bar(results, h.metric),
        is_left_out=all(levels in left_out for levels in results.conditions if matches(levels, h.at)),
        silent="" if data.seeds else _silent(results, h, metric),
        usual=results.study.metric.name,
    )


def _silent(results: Results, h: Hypothesis, metric: Metric) -> str:
    """Why there is nothing to compare, where it is that a side, or no trial at all, reports the metric."""
    told: dict[str, list[bool]] = {}
    for trial in results.trials:
        if trial.state == "COMPLETE" and (in_ledger(metric) or trial.has_record or not trial.is_trained):
            told.setdefault(trial.arm, []).append(trial.score(metric) is not None)
    mute = [arm for arm in (h.arm, h.other) if arm in told and not any(told[arm])]
    if not mute or any(map(any, told.values())):
        return f"{listing(mute)} {'reports' if len(mute) == 1 else 'report'} no {h.metric}" if mute else ""
    known = sorted({name for trial in results.trials for name in trial.metrics})
    return f"no trial reports {h.metric}; they report {listing(known)}"


def sound_scores(results: Results) -> list[list[float]]:
    """Scores by arm and condition, without seeds that collapsed."""
    metric, share = results.study.metric, results.study.bars.collapse
    return [
        [
            score
            for trial in results.of(arm, levels)
            if (score := trial.score(metric)) is not None and not has_collapsed(trial, share)
        ]
        for levels in results.conditions
        for arm in results.arms
    ]
