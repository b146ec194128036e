"""A study from its file to a finished ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from atod_sweep.config.base import MOST_SEEDS, dump_yaml, parse_mapping, parse_yaml, validate
from atod_sweep.config.files import flatten
from atod_sweep.config.given import for_trials, given
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger, study_file
from atod_sweep.records.ledger_rows import StudyRow
from atod_sweep.sweep.estimate import Estimate, estimate
from atod_sweep.sweep.execution import execute_work, start
from atod_sweep.sweep.record.rundir import Intent, beyond_extension
from atod_sweep.sweep.studies import tuned
from atod_sweep.sweep.studies.plan import MATCH, Plan, resolve
from atod_sweep.sweep.studies.until_decided import Blocks, Rule, in_blocks
from atod_sweep.sweep.trials.desk import Desk
from atod_sweep.sweep.trials.source import Queue, Source
from atod_sweep.sweep.work import Document, Goal, Options, RunOutcome, Work

StudySource = str | Path | Mapping[str, Any] | Study


def run_study(
    source: StudySource,
    *,
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    seeds: int | None = None,
    until_decided: Rule | None = None,
    **how: Any,
) -> RunOutcome:
    """Run a study (a file, a shipped name, a mapping or a record). UserError on bad input.

    `overrides`: dotted keys of the trainer config, for every trial of the study. `how`: as of `start`.
    `until_decided`: add seeds until the study's claims are decided, of which `judge` among the options tells.
    """
    return start(_given(source, overrides or {}, name, seeds, until_decided), **how)


def dry_run(
    source: StudySource,
    *,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    until_decided: Rule | None = None,
    **options: Any,
) -> Estimate:
    """What `run_study` would take at most, from a few timed steps. UserError on bad input."""
    return estimate(_given(source, overrides or {}, None, seeds, until_decided), Options.of(**options))


def _given(
    source: StudySource, overrides: Mapping[str, Any], name: str | None, seeds: int | None, rule: Rule | None
) -> Work:
    found = given(Study, source, resolve)
    study, text = found.record, found.text
    for place, own in _changed(study).items():
        if "seed" in own:
            wrong = f"{place}: 'seed' is that of each trial, got {own['seed']!r}"
            raise UserError(f"{found.where}: {wrong}; list them as seeds: of the study")
    changes: dict[str, Any] = {} if name is None else {"name": name}
    if seeds is not None:
        changes["seeds"] = study.seeds_in_all(seeds) if 0 < seeds <= MOST_SEEDS else seeds  # refused when it is read
    if overrides:
        changes["base"] = _overridden(study, for_trials(Study, overrides, found.where), found.where)
        text = dump_yaml(parse_yaml(text, found.where) | {"base": changes["base"]})  # the folder shall say what ran
    if changes:
        study = validate(Study, study.model_dump(exclude_unset=True) | changes, found.where)
    return _work(study, found.folder, found.where, text, rule)


def _work(study: Study, folder: Path, where: str, text: str, rule: Rule | None) -> Work:
    first = study.seed_list
    if rule is not None:
        study = study.model_copy(update={"seeds": rule.seeds(study)})
    plan = resolve(study, folder, where)
    work = study_work(plan, text)
    if rule is not None:
        work = in_blocks(work, plan, first, rule)
    if tuned.NAME in study.controls:
        found = tuned.candidates(study, folder, where)
        work = tuned.chosen_first(work, plan, found, partial(_source, first, rule))
    return work


def _source(first: list[int], rule: Rule | None, plan: Plan) -> Callable[[Desk], Source]:
    """Where a plan's trials come from: all of them in order, or block by block."""
    return partial(_queue, plan) if rule is None else partial(Blocks, plan, first, rule)


def _changed(study: Study) -> dict[str, dict[str, Any]]:
    """What every arm and level sets, flat, by its place in the file."""
    levels = {f"factors.{f}.{v}": o for f, table in study.factors.items() for v, o in table.items()}
    return {
        place: flatten(own) for place, own in ({f"arms.{arm}": o for arm, o in study.arms.items()} | levels).items()
    }


def _overridden(study: Study, overrides: dict[str, Any], where: str) -> dict[str, Any]:
    """The study's base with `overrides`. UserError where an arm or a level would undo one."""
    for name, own in _changed(study).items():
        if both := sorted(overrides.keys() & {key.removesuffix(MATCH) for key in own}):
            raise UserError(f"{where}: {name} sets {both[0]!r} itself; change it there, or drop {both[0]}=…")
    return {"base": study.base, **overrides}


def resume_study(run_dir: Path, row: StudyRow, options: Options) -> RunOutcome:
    path, definition = run_dir / layout.STUDY, row["definition"]
    text = study_file.read(path, ledger.read(run_dir))
    base = row.get("base", definition["base"])  # older ledgers hold it with the horizons of its environment
    recorded = {key: definition[key] for key in ("seeds", "hypotheses")}
    data = parse_mapping(text, str(path)) | {"name": row["name"], "base": base, **recorded}
    rule = Rule(**definition["sequential"]) if "sequential" in definition else None
    study = validate(Study, data, str(path), context={"recorded": True})
    work = _work(study, run_dir, str(path), text, rule)
    return execute_work(work, run_dir, Intent(resume=True), options)


def study_work(plan: Plan, text: str) -> Work:
    """A study as a session sees it."""
    study = plan.study
    numbers = [(len(study.arms), "arm"), (len(study.controls), "control")]
    arms = " + ".join(f"{number} {what}{'s' if number > 1 else ''}" for number, what in numbers if number)
    return Work(
        document=Document(study.name, layout.STUDY, text, f"{arms} × {len(study.seed_list)} seeds"),
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
            **({"price": study.price.model_dump(mode="json")} if study.price else {}),
        },
        goal=Goal(study.metric, claims=tuple(study.hypotheses)),
        configs=tuple(trial.config for trial in plan.trials),
        total=len(plan.trials),
        resources=study.resources,
        concurrency=study.concurrency,
        extension=beyond_extension,
        source=partial(_queue, plan),
    )


def _queue(plan: Plan, desk: Desk) -> Queue:
    desk.check(plan.trials)
    return Queue(desk.jobs(plan.trials), desk.limits)
