"""Verbs that make or read runs. Heavy packages are imported when a verb needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atod_sweep.api.ending import conclude, judge
from atod_sweep.api.handle import Run
from atod_sweep.errors import UserError, check_list
from atod_sweep.paths import expanded, written
from atod_sweep.sweep.record.progress import choose
from atod_sweep.sweep.user_code import admit, command, started_from

if TYPE_CHECKING:
    from atod_sweep.config.search import Search
    from atod_sweep.config.study import Study
    from atod_sweep.config.train import Train
    from atod_sweep.sweep.record.progress import Progress
    from atod_sweep.sweep.studies.until_decided import Rule
    from atod_sweep.sweep.work import RunOutcome
    from atod_sweep.training.loop.books import Result

Callback = Callable[[dict[str, Any]], None]
Backend = Literal["ray", "local"]
Overrides = Mapping[str, Any]


def run(
    study: str | Path | Mapping[str, Any] | Study,
    *,
    overrides: Overrides | None = None,
    seeds: int | None = None,
    until_decided: bool | Rule = False,
    out: str | Path = "runs",
    name: str | None = None,
    resume: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    backend: Backend | None = None,
    concurrency: int | None = None,
    address: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    loggers: Sequence[str] | None = None,
    max_retries: int = 1,
    time_budget: float | None = None,
    max_trials: int | None = None,
    callback: Callback | None = None,
    verbosity: int = 0,
    show: Progress | None = None,
) -> Run:
    """Run an ablation study: train every arm at every factor level with every seed, record, report, export.

    Args:
        study: a file, the name of a shipped study (`"quickstart"`), a mapping as in such a file, or the record.
        overrides: dotted keys of the trainer config -> values, for every trial.
        seeds: number of seeds: the first of the study's own, then those that follow.
        until_decided: add seeds, to the arms of open hypotheses, until every one is decided; a `Rule` says how many at
            a time and at most.
        out: folder that holds one subfolder per run.
        name: of that subfolder; default: the study's name.
        resume: go on with an interrupted run of the same definition.
        extend: add arms or seeds to a finished run.
        overwrite: move an existing run to `.trash` and start over.
        backend: `"ray"` (the default), or `"local"`: the same trials without Ray, here or in `concurrency` processes.
        concurrency: trials at a time; default: what the resources hold, one if local.
        address: of a Ray cluster, for example `"auto"`; default: Ray on this machine.
        storage: folder or URI through which nodes that do not see `out` give back their files.
        tracking_uri: of MLflow; default: `MLFLOW_TRACKING_URI`, or else a sqlite file in `out`.
        experiment: of MLflow; default: `MLFLOW_EXPERIMENT_NAME`, or else `atod-sweep`.
        loggers: to write to beside MLflow: `"wandb"`, `"tensorboard"`.
        max_retries: further attempts at a trial whose failure may pass.
        time_budget: seconds after which no trial starts.
        max_trials: start at most this many trials.
        callback: called with every event that `--json` prints, as a dictionary.
        verbosity: below 0 warnings and failures only, above 0 also every trial and evaluation.
        show: a display of your own, in the place of the console's.

    Returns the run. `.ok` tells whether enough trials completed.
    Raises UserError for bad input, before anything has run.
    """
    given = dict(locals())
    from atod_sweep.sweep.studies.run_study import run_study
    from atod_sweep.sweep.studies.until_decided import Rule

    if not isinstance(until_decided, bool | Rule):
        raise UserError(
            f"until_decided: expected True, False or a Rule, got {until_decided!r}; for a limit of seeds give "
            "atod_sweep.sweep.studies.until_decided.Rule(max_seeds=…)"
        )
    rule = Rule() if until_decided is True else until_decided or None
    given |= {"out": expanded(out), "backend": backend or "ray", "until_decided": rule, "judge": judge}
    return _carried_out("run", run_study, given.pop("study"), given)


def search(
    space: str | Path | Mapping[str, Any] | Search,
    *,
    overrides: Overrides | None = None,
    configurations: int | None = None,
    out: str | Path = "runs",
    name: str | None = None,
    resume: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    backend: Backend | None = None,
    concurrency: int | None = None,
    address: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    loggers: Sequence[str] | None = None,
    max_retries: int = 1,
    time_budget: float | None = None,
    max_trials: int | None = None,
    callback: Callback | None = None,
    verbosity: int = 0,
    show: Progress | None = None,
) -> Run:
    """Search a space with Optuna, then confirm the best configurations on fresh seeds.

    `space`: a file, the name of a shipped one (`"schedule"`), a mapping, or the record. `configurations`: how many, in
    the place of the file's. `time_budget`: seconds after which nothing starts but the confirmation. The other
    arguments, the value and the errors are those of `run`.
    """
    given = dict(locals())
    from atod_sweep.sweep.searches.run_search import run_search

    given |= {"out": expanded(out), "backend": backend or "ray"}
    return _carried_out("search", run_search, given.pop("space"), given)


def resume(
    run_dir: str | Path,
    *,
    backend: Backend | None = None,
    concurrency: int | None = None,
    address: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    loggers: Sequence[str] | None = None,
    max_retries: int = 1,
    time_budget: float | None = None,
    max_trials: int | None = None,
    callback: Callback | None = None,
    verbosity: int = 0,
    show: Progress | None = None,
) -> Run:
    """Go on with an interrupted study or search, from what its folder holds.

    `backend`, `concurrency`, `address`, `storage`, `tracking_uri`, `experiment` and `loggers` are those with which the
    run was started unless they are given. Finished trials stay, running ones continue from their checkpoint. The other
    arguments, the value and the errors are those of `run`.
    """
    given = dict(locals())
    from atod_sweep.sweep.resume import resume_run

    return _carried_out("resume", resume_run, expanded(given.pop("run_dir")), given | {"judge": judge})


def _carried_out(verb: str, start: Callable[..., RunOutcome], source: Any, given: dict[str, Any]) -> Run:
    """What a verb starts, shown, reported, and taken up as a run. `given`: the verb's keywords."""
    check_list("loggers", given["loggers"])
    show = choose(**{name: given.pop(name) for name in ("callback", "verbosity", "show")})
    admit(*(started_from(source) if verb == "resume" else [source]))
    after = partial(conclude, say=show.note)
    with closing(show):
        outcome = start(source, **given, show=show, argv=command(verb, source), after=after)
    return Run(outcome.run_dir, outcome)


def train(
    config: str | Path | Mapping[str, Any] | Train,
    *,
    overrides: Overrides | None = None,
    out: str | Path = "runs/train",
    resume: bool = False,
    schedule: str | Path | None = None,
    callback: Callback | None = None,
) -> Result:
    """Train one student, without Ray and MLflow.

    Args:
        config: a file, a preset (`"presets/support_desk_compact"`), a mapping as in such a file, or the record.
        overrides: dotted keys -> values, applied last.
        out: folder for the config, metrics, checkpoints and the student.
        resume: go on from the newest checkpoint in `out`.
        schedule: an exported schedule or bundle to train with.
        callback: called with the row of metrics of every evaluation, with `steps`, the number of optimiser steps,
            beside it; with lines about models on their way as `{"event": "note", "text": …}`.

    Returns the final metrics and total costs. Raises UserError for bad input.
    """
    from atod_sweep.config.files import load_train
    from atod_sweep.config.study import Resources
    from atod_sweep.config.train import Train
    from atod_sweep.sweep import preflight

    admit(config)
    tell = callback or (lambda event: None)
    source = str(config) if isinstance(config, Path) else config
    if isinstance(source, Train):
        source = source.model_dump(mode="json")
    if schedule is None:
        resolved = load_train(source, overrides)
    else:
        from atod_sweep.export.schedule.schedule_file import load_train_with

        resolved = load_train_with(expanded(schedule), source, overrides or {})
    plain = resolved.model_dump(mode="json")
    preflight.check([plain], Resources(), is_cluster=False)
    for line in preflight.fit([plain], Resources(), side_by_side=1):
        tell({"event": "note", "text": line})
    from atod_sweep.training.loop.recorded import train_into  # brings torch

    return train_into(
        expanded(out),
        resolved,
        resume,
        lambda line: tell({"event": "note", "text": line}),
        lambda row: tell({**row, "steps": resolved.steps}),
    )


def check(model: str | Path, *, teacher: str | Path | None = None, overrides: Overrides | None = None) -> list[str]:
    """Check that a model, and its teacher, can be trained here: rollouts and updates that compute what it computes.

    `overrides`: settings of the model, as `student` has them. Returns what was found, one fact a line. Raises UserError
    for what cannot be trained.
    """
    from atod_sweep.config.base import validate
    from atod_sweep.config.models import Pretrained
    from atod_sweep.sweep import preflight

    source = validate(Pretrained, {"path": str(model), **(overrides or {})}, "check")
    pair = {"student": source, "teacher": None if teacher is None else Pretrained(path=str(teacher))}
    for role, one in pair.items():
        if one is not None:
            preflight.model(role, one.path)
    from atod_sweep.training.loop.preflight import lines  # brings torch

    return list(lines(source, pair["teacher"]))


def report(
    run_dir: str | Path, *, formats: Sequence[str] = ("html", "md"), out: str | Path | None = None
) -> dict[str, Path]:
    """Rebuild a run's report, tables and figures from its files alone; returns the documents by format.

    `formats`: some of html, md, pdf (which needs Chromium). `out`: folder to write; default: the run's own. Needs
    neither Ray nor a trainer. Raises UserError if the folder holds no run.
    """
    from atod_sweep.evidence.analysis.reading import load
    from atod_sweep.evidence.report.pdf import check_formats
    from atod_sweep.training import NUMERICS

    check_list("formats", formats)
    check_formats(formats)
    load(expanded(run_dir))
    from atod_sweep.evidence.report.write import write  # brings matplotlib

    folder = None if out is None else expanded(out)
    with written(folder or expanded(run_dir)):
        return write(expanded(run_dir), NUMERICS, formats, folder).documents


def compare(runs: Sequence[str | Path], *, claims: bool = False) -> str:
    """Two runs side by side, as Markdown: how they were made, and what came out.

    Of other numbers of runs, and with `claims`: every hypothesis with its effect, interval, n and verdict.
    """
    from atod_sweep.evidence.report.compare import text
    from atod_sweep.training import NUMERICS

    return "\n".join(text(_folders(runs), claims, NUMERICS))


def _folders(runs: str | Path | Sequence[str | Path]) -> list[Path]:
    """The folders that were named, one or several. UserError for none."""
    found = [expanded(folder) for folder in ([runs] if isinstance(runs, str | Path) else runs)]
    if not found:
        raise UserError(f"runs: name at least one folder, for example runs/quickstart, got {runs!r}")
    return found


def transfer(runs: Sequence[str | Path], *, margin: float = 0.03) -> str:
    """Whether the best schedule of small students stays good on larger ones, as a page of Markdown.

    `runs`: studies with the same arms and students of at least two sizes, in one run or in several; their ledgers are
    read and nothing else. `margin`: the regret that would not matter, in units of the metric. Raises UserError for runs
    of which it cannot be asked.
    """
    from atod_sweep.evidence.report.transfer import page

    return "\n".join(page(_folders(runs), margin))


def sync(
    run_dir: str | Path,
    *,
    logger: str = "mlflow",
    tracking_uri: str | None = None,
    experiment: str | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> int:
    """Bring a logger (`"mlflow"`, `"wandb"`, `"tensorboard"`) up to a run's ledger; returns the number of trials there.

    `tracking_uri` and `experiment` of MLflow: default: where the run was started to be recorded. `note` gets a line
    every few seconds that says how far it is, and at last the place. Raises UserError.
    """
    from atod_sweep.api.ending import answer
    from atod_sweep.sweep.loggers.choice import made
    from atod_sweep.sweep.loggers.sync import sync as catch_up

    folder = expanded(run_dir)
    make = made(logger, folder, tracking_uri, experiment, note)
    return catch_up(folder, make, note, answer)
