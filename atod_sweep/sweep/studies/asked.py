"""Whether trials report what a study or a search asks of them, as far as their configs tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from atod_sweep.config.retention import Retained
from atod_sweep.config.study import Hypothesis, Metric, Study
from atod_sweep.envs import registry
from atod_sweep.errors import Gathered, UserError
from atod_sweep.records.metric_names import check_reported, check_retained, watched

if TYPE_CHECKING:
    from atod_sweep.sweep.studies.plan import Trial


def check(study: Study, trials: list[Trial], mistakes: Gathered) -> None:
    """Note a metric that a trial does not report, claims on what a side of theirs does not, bars on what none does."""
    wanted = [("metric", study.metric, trials)]
    for i, claim in enumerate(study.hypotheses):
        about = [trial for trial in trials if claim.concerns(trial.arm, trial.levels)]
        wanted.append((f"hypotheses.{i}", Metric(name=claim.metric), about))
    for field, metric, about in wanted:
        refused = _refused(metric, about, f"{mistakes.where}: {field}")
        for trial in refused[:1]:
            at = f" at {', '.join(map('='.join, trial.levels.items()))}" if trial.levels else ""
            only = f": {trial.arm!r}{at}" if len(refused) < len(about) else ""
            with mistakes.noted():
                check_metric(metric, trial.config, f"{mistakes.where}: {field}{only}")
    for name in study.bars.learning:
        field = f"{mistakes.where}: bars.learning"
        if trials and len(_refused(Metric(name=name), trials, field)) == len(trials):
            with mistakes.noted():
                check_metric(Metric(name=name), trials[0].config, field)


def check_like_with_like(
    claims: Iterable[Hypothesis], trained: Iterable[tuple[str, Mapping[str, str], Mapping[str, Any]]], where: str
) -> None:
    """UserError for a claim between arms of two trainers, which differ in how they sample, round and order sums.

    `trained`: (arm, levels of factors, config) of trainings.
    """
    trainers = {
        (arm, *levels.items()): config.get("trainer", {"kind": "atod"})["kind"] for arm, levels, config in trained
    }
    for i, claim in enumerate(claims):
        for (arm, *levels), kind in trainers.items():
            other = trainers.get((claim.other, *levels), kind)
            if arm == claim.arm and claim.at.items() <= set(levels) and other != kind:
                raise UserError(
                    f"{where}: hypotheses.{i}: {arm!r} is trained by {kind} and {claim.other!r} by {other}, so their "
                    "difference would be the trainers' as well; set one trainer.kind for both"
                )


def _refused(metric: Metric, trials: list[Trial], where: str) -> list[Trial]:
    """Those of the trials that cannot be judged by a metric."""
    found = []
    for trial in trials:
        try:
            check_metric(metric, trial.config, where)
        except UserError:
            found.append(trial)
    return found


def check_metric(metric: Metric, config: dict[str, Any], where: str) -> None:
    """UserError if trials of this config do not report the metric, or have fewer evaluations than it averages over.

    What an environment of the user's reports beside success shows when it is looked at.
    """
    try:
        kept = [Retained.model_validate(one) for one in config["evaluation"].get("retention", [])]
        check_retained(metric.name, [name for one in kept for name in one.metrics])
        if registry.is_shipped(config["env"]["id"]):
            own = [*registry.metric_names(config["env"]["id"], config["env"]["kwargs"]), *stood_in(config)]
            check_reported(metric.name, own, config["evaluation"]["attempts"])
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    if metric.name.startswith("final/"):
        if "final" not in config["evaluation"]:
            raise UserError(
                f"{where}: {metric.name!r}: no final sets are played; set evaluation.final: {{}} in base, "
                f"or use {watched(metric.name)}"
            )
        if metric.last > 1:
            raise UserError(
                f"{where}.last: {metric.last}: final sets are played once; drop it, or use {watched(metric.name)}"
            )
        return
    evaluations = -(-config["steps"] // config["evaluation"]["every"]) + 1
    if metric.last > evaluations:
        raise UserError(
            f"{where}.last: {metric.last} is more than the {evaluations} evaluations of a trial; "
            f"use at most {evaluations}, or a smaller evaluation.every"
        )


def stood_in(config: dict[str, Any]) -> list[str]:
    """What evaluations report beside the environment's metrics if its reward is not what is trained on."""
    return ["proxy"] if "reward" in config else []
