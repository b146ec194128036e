"""A study from its file to a finished ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atod_sweep.config.base import dump_yaml, load_yaml, validate
from atod_sweep.config.files import flatten, load_study
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.sweep.estimate import Estimate, estimate
from atod_sweep.sweep.record.definition import beyond_extension
from atod_sweep.sweep.record.rundir import Intent, is_stillborn
from atod_sweep.sweep.session import Options, Outcome, Session, Work, execute_work
from atod_sweep.sweep.studies.plan import MATCH, Plan, resolve
from atod_sweep.sweep.studies.until_decided import Rule, in_blocks
from atod_sweep.sweep.trials.jobs import Trainer
from atod_sweep.sweep.trials.source import Queue

__all__ = ["Options", "Outcome", "Rule", "Trainer", "dry_run", "resume_run", "run_study"]


def run_study(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    seeds: int | None = None,
    until_decided: Rule | None = None,
    resume: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Outcome:
    """Run a study file into `out`/NAME; `options` are the fields of `Options`. UserError on bad input.

    `overrides`: dotted keys of the trainer config, for every trial of the study. `until_decided`: add seeds until the
    study's claims are decided, of which `judge` among the options tells.
    """
    work = _study_file(path, overrides or {}, name, seeds, until_decided)
    return execute_work(work, out / work.name, Intent(resume, extend, overwrite), Options(**options))


def dry_run(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    until_decided: Rule | None = None,
    **options: Any,
) -> Estimate:
    """What `run_study` would take at most, from a few timed steps. UserError on bad input."""
    return estimate(_study_file(path, overrides or {}, None, seeds, until_decided), Options(**options))


def _study_file(
    path: Path, overrides: Mapping[str, Any], name: str | None, seeds: int | None, rule: Rule | None
) -> Work:
    study, text = load_study(path), path.read_text(encoding="utf-8")
    changes: dict[str, Any] = {key: value for key, value in (("name", name), ("seeds", seeds)) if value is not None}
    if overrides:
        changes["base"] = _overridden(study, flatten(overrides), str(path))
        text = dump_yaml(load_yaml(path) | {"base": changes["base"]})  # the run's folder shall say what ran
    if changes:
        study = validate(Study, study.model_dump() | changes, str(path))
    return _work(study, path.parent, str(path), text, rule)


def _work(study: Study, folder: Path, where: str, text: str, rule: Rule | None) -> Work:
    if rule is None:
        return study_work(resolve(study, folder, where), text)
    first = study.seed_list
    plan = resolve(study.model_copy(update={"seeds": rule.seeds(first)}), folder, where)
    return in_blocks(study_work(plan, text), plan, first, rule)


def _overridden(study: Study, overrides: dict[str, Any], where: str) -> dict[str, Any]:
    """The study's base with `overrides`. UserError where an arm or a level would undo one."""
    levels = {f"factors.{f}.{v}": o for f, table in study.factors.items() for v, o in table.items()}
    for name, own in ({f"arms.{arm}": o for arm, o in study.arms.items()} | levels).items():
        if both := sorted(overrides.keys() & {key.removesuffix(MATCH) for key in flatten(own)}):
            raise UserError(f"{where}: {name} sets {both[0]!r} itself; change it there, or drop {both[0]}=…")
    return {"base": study.base, **overrides}


def resume_run(run_dir: Path, **options: Any) -> Outcome:
    """Finish the study or search in a folder, from what the folder holds."""
    history = ledger.fold(ledger.read(run_dir))
    if history.study is None:
        if (run_dir / ledger.NAME).is_file() or (run_dir.is_dir() and is_stillborn(run_dir)):
            raise UserError(f"{run_dir}: its run stopped before it began; start it again: atod-sweep run STUDY.yaml")
        raise UserError(f"{run_dir}: holds no ledger of a study; give the folder of a run, for example runs/quickstart")
    if "search" in history.study:
        from atod_sweep.sweep.searches.run_search import resume_search

        return resume_search(run_dir, history.study, Options(**options))
    path, definition = run_dir / "study.yaml", history.study["definition"]
    base = history.study.get("base", definition["base"])  # older ledgers hold it with the horizons of its environment
    recorded = {key: definition[key] for key in ("seeds", "hypotheses")}
    data = load_yaml(path) | {"name": run_dir.name, "base": base, **recorded}
    rule = Rule(**definition["sequential"]) if "sequential" in definition else None
    study = validate(Study, data, str(path), context={"recorded": True})
    work = _work(study, run_dir, str(path), path.read_text(encoding="utf-8"), rule)
    return execute_work(work, run_dir, Intent(resume=True), Options(**options))


def study_work(plan: Plan, text: str) -> Work:
    """A study as a session sees it."""
    study = plan.study
    arms = f"{len(study.arms)} arms" + (f" + {len(study.controls)} controls" if study.controls else "")
    return Work(
        name=study.name,
        file="study.yaml",
        text=text,
        title=f"{arms} × {len(study.seed_list)} seeds",
        definition=plan.definition,
        row={
            "name": study.name,
            "question": study.question,
            "base": plan.base,
            "reference": study.reference_arm,
            "metric": study.metric.model_dump(mode="json"),
            "bars": study.bars.model_dump(mode="json"),
            "hypotheses": [{**claim.model_dump(mode="json"), "sentence": str(claim)} for claim in study.hypotheses],
            "arms": list(study.arms),
            "controls": list(study.controls),
            "factors": {factor: list(levels) for factor, levels in study.factors.items()},
            "seeds": study.seed_list,
        },
        metric=study.metric,
        also=tuple(dict.fromkeys(claim.metric for claim in study.hypotheses)),
        configs=tuple(trial.config for trial in plan.trials),
        total=len(plan.trials),
        resources=study.resources,
        concurrency=study.concurrency,
        extension=beyond_extension,
        source=lambda session: _queue(plan, session),
    )


def _queue(plan: Plan, session: Session) -> Queue:
    session.check(plan.trials)
    waiting = [session.job(trial) for trial in plan.trials if not session.is_finished(trial)]
    options = session.options
    return Queue(waiting, options.max_retries, options.time_budget, options.max_trials)
