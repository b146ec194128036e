"""A search from its file to a finished ledger; `campaign` decides what is tried."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atod_sweep.config.base import dump_yaml, parse_mapping, parse_yaml, validate
from atod_sweep.config.given import for_trials, given
from atod_sweep.config.search import Search
from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger, study_file
from atod_sweep.records.ledger_rows import StudyRow
from atod_sweep.records.metric_names import watched
from atod_sweep.sweep.estimate import Estimate, estimate
from atod_sweep.sweep.execution import execute_work, start
from atod_sweep.sweep.record.rundir import Intent, differences
from atod_sweep.sweep.searches.campaign import REFERENCE, Campaign
from atod_sweep.sweep.searches.samplers import proposer
from atod_sweep.sweep.searches.space import Sample, Space, resolve_space
from atod_sweep.sweep.searches.starting_points import starting_points
from atod_sweep.sweep.studies.asked import check_metric
from atod_sweep.sweep.work import Document, Goal, Options, RunOutcome, Work

Source = str | Path | Mapping[str, Any] | Search


def run_search(
    source: Source,
    *,
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    configurations: int | None = None,
    **how: Any,
) -> RunOutcome:
    """Run a search (a file, a shipped name, a mapping or a record). UserError on bad input.

    `overrides`: dotted keys of the base config, none of them a parameter of the space. `how`: as of `start`.
    """
    return start(_given(source, overrides or {}, name, configurations), **how)


def dry_run(
    source: Source, *, overrides: Mapping[str, Any] | None = None, configurations: int | None = None, **options: Any
) -> Estimate:
    """What `run_search` would take, from a few timed steps. UserError on bad input."""
    return estimate(_given(source, overrides or {}, None, configurations), Options.of(**options))


def _given(source: Source, overrides: Mapping[str, Any], name: str | None, configurations: int | None) -> Work:
    found = given(Search, source, search_work)
    search, text, where = found.record, found.text, found.where
    data = search.model_dump()
    if configurations is not None:
        data["budget"]["configurations"] = configurations
    if overrides:
        changes = for_trials(Search, overrides, where)
        if both := sorted(changes.keys() & {parameter.key for parameter in search.parsed(where)[0]}):
            raise UserError(f"{where}: {both[0]!r} is a parameter of the space; change it there, or drop {both[0]}=…")
        data["base"] = {"base": search.base, **changes}
        text = dump_yaml(parse_yaml(text, where) | {"base": data["base"]})  # the run's folder shall say what ran
    search = validate(Search, data | {"name": name or search.name}, where)
    return search_work(search, found.folder, where, text)


def resume_search(run_dir: Path, study: StudyRow, options: Options) -> RunOutcome:
    path = run_dir / layout.SEARCH
    definition = study["definition"]
    text = study_file.read(path, ledger.read(run_dir))
    data = parse_mapping(text, str(path)) | {
        "name": study["name"],
        **{key: definition[key] for key in ("base", "start_from")},
    }
    data["budget"] = {**data.get("budget", {}), **definition["budget"]}  # as it was run or extended
    search = validate(Search, data, str(path))
    work = search_work(search, run_dir, str(path), text)
    return execute_work(work, run_dir, Intent(resume=True), options)


def search_work(search: Search, folder: Path, where: str, text: str = "") -> Work:
    """A search as a session sees it. UserError if space, starting points and sampler do not go together."""
    space = resolve_space(search, folder, where)
    starts = starting_points(space, search, folder, where)
    points = proposer(space, search, starts).total()  # refuses what does not go together
    for field, objective in zip(("metric", "second"), search.objectives, strict=False):
        check_metric(objective, space.base, f"{where}: {field}")
        if objective.name.startswith("final/"):
            raise UserError(
                f"{where}: {field}: {objective.name!r}: a search that chooses by the final sets leaves nothing fresh "
                f"to judge its choice by; use {watched(objective.name)}"
            )
    budget = search.budget
    configurations = budget.configurations if points is None else points
    trials, seeds = configurations * budget.seeds, f"{configurations} configurations × {budget.seeds} seeds"
    if budget.racing is not None:
        trials = min(budget.configurations * budget.seeds, configurations * budget.racing.max_seeds)
        seeds = f"at most {configurations} configurations racing for {trials} trials"
    title = f"{seeds}, {search.sampler.kind}; top {budget.confirm.top} × {budget.confirm.seeds} fresh seeds"
    return Work(
        document=Document(search.name, layout.SEARCH, text, title),
        definition=_definition(search, space, starts),
        row={
            "name": search.name,
            "question": search.question,
            "reference": REFERENCE,
            "metric": search.metric.model_dump(mode="json", exclude={"mode"}),
            "hypotheses": [],
            "arms": [],
            "controls": [],
            "factors": {},
            "seeds": [],
            **({"price": search.price.model_dump(mode="json")} if search.price else {}),
            "search": search.model_dump(mode="json", exclude={"base", "name", "question"}),
        },
        goal=Goal(
            search.metric,
            second=search.second,
            sign=search.metric.sign,
            min_complete=budget.min_complete,
        ),
        configs=(space.base,),
        total=trials + (budget.confirm.top + 1) * budget.confirm.seeds,
        resources=search.resources,
        concurrency=search.concurrency,
        extension=_beyond_extension,
        source=lambda desk: Campaign(search, space, starts, desk),
    )


def _definition(search: Search, space: Space, starts: list[Sample]) -> dict[str, Any]:
    return {
        "base": space.base,
        "start_from": [sample.values for sample in starts],
        **search.model_dump(
            mode="json", include={"metric", "second", "parameters", "constraints", "sampler", "early_stopping"}
        ),
        "budget": search.budget.model_dump(mode="json", exclude={"min_complete"}),
    }


def _beyond_extension(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Everything but more configurations: those proposed so far stay as they are."""
    grown = {**new, "budget": {**new["budget"], "configurations": old["budget"]["configurations"]}}
    fewer = new["budget"]["configurations"] < old["budget"]["configurations"]
    return differences(old, new if fewer else grown)
