"""One study from file to finished ledger: check, build the models once, run the trials, record."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from atod_sweep.config.base import content_hash, load_yaml, validate
from atod_sweep.config.files import load_study
from atod_sweep.config.study import Study
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.sweep import ledger, progress, provenance, runner
from atod_sweep.sweep.background import Background
from atod_sweep.sweep.jobs import Job, Trainer, load
from atod_sweep.sweep.ledger import History, Ledger
from atod_sweep.sweep.progress import Progress, Scoreboard
from atod_sweep.sweep.queue import Queue
from atod_sweep.sweep.recorder import Recorder
from atod_sweep.sweep.rundir import Intent, opened
from atod_sweep.sweep.study import Plan, Trial, resolve
from atod_sweep.sweep.tracking import Mirror, default_uri

FINISHED = ("COMPLETE", "PRUNED")
MLFLOW_PATIENCE = 60.0  # seconds that the end of a study waits for MLflow


@dataclass(frozen=True)
class Options:
    """How a study runs; none of it decides its results."""

    backend: Literal["ray", "local"] = "ray"
    concurrency: int | None = None
    address: str | None = None
    storage: str | None = None
    tracking_uri: str | None = None
    json_output: bool = False
    max_retries: int = 1
    trainer: Trainer = field(default_factory=Trainer)
    argv: tuple[str, ...] = ()
    after: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run left: trials by their last state, and whether it was stopped before its end."""

    run_dir: Path
    total: int
    complete: int
    failed: int
    pruned: int
    interrupted: bool
    seconds: float
    failures: tuple[ledger.Row, ...]


def run_study(
    path: Path,
    *,
    out: Path = Path("runs"),
    name: str | None = None,
    seeds: int | None = None,
    resume: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Outcome:
    """Run a study file into `out`/NAME; `options` are the fields of `Options`. UserError on bad input.

    `Options.after` is called with the run's folder when all trials have ended, before MLflow's parent run is closed, so
    that what it writes there is stored with it.
    """
    study = load_study(path)
    changes = {key: value for key, value in (("name", name), ("seeds", seeds)) if value is not None}
    if changes:
        study = validate(Study, study.model_dump() | changes, str(path))
    plan = resolve(study, path.parent, str(path))
    text = path.read_text(encoding="utf-8")
    return _run(plan, text, out / study.name, Intent(resume, extend, overwrite), Options(**options))


def resume_run(run_dir: Path, **options: Any) -> Outcome:
    """Finish the run in a folder, from what the folder holds."""
    history = ledger.fold(ledger.read(run_dir))
    if history.study is None:
        raise UserError(f"{run_dir}: holds no ledger of a study; give the folder of a run, for example runs/quickstart")
    path, definition = run_dir / "study.yaml", history.study["definition"]
    data = load_yaml(path) | {"name": run_dir.name, "base": definition["base"], "seeds": definition["seeds"]}
    plan = resolve(validate(Study, data, str(path)), run_dir, str(path))
    return _run(plan, path.read_text(encoding="utf-8"), run_dir, Intent(resume=True), Options(**options))


def _run(plan: Plan, text: str, run_dir: Path, intent: Intent, options: Options) -> Outcome:
    started = time.monotonic()
    show = progress.choose(options.json_output)
    with opened(run_dir, plan, intent) as (writer, history):
        _announce(show, plan, options)
        row: ledger.Row = {"id": history.studies[0]["id"] if history.studies else uuid.uuid4().hex[:16]}
        row |= _study_row(plan, options)
        mirror = Mirror(options.tracking_uri or default_uri(run_dir.parent), run_dir, row)
        models = _ensure_models(plan, options, show)
        row["models"] = asdict(next(iter(models.values())))
        (run_dir / "study.yaml").write_text(text, encoding="utf-8")
        if _is_news(history.study, row):
            writer.append(row)
        mirror.begin()
        tracker = Background(mirror, run_dir)
        for old in history.trials.values():
            tracker.add(old)
        stopped = _run_trials(plan, run_dir, writer, history, models, show, tracker, options)
        done = ledger.fold(ledger.read(run_dir))
        if not stopped and options.after is not None:
            options.after(run_dir)
        if stopped:
            finished = done.count("COMPLETE") + done.count("PRUNED")
            show.note(
                f"stopped with {finished} of {len(plan.trials)} trials finished; atod-sweep resume {run_dir} continues"
            )
        _close(tracker, mirror, "KILLED" if stopped else "FINISHED", show, run_dir)
    return _outcome(plan, run_dir, done, stopped, time.monotonic() - started)


def _run_trials(
    plan: Plan,
    run_dir: Path,
    writer: Ledger,
    history: History,
    models: dict[str, Any],
    show: Progress,
    tracker: Background,
    options: Options,
) -> bool:
    """Run what is not finished; True if it was stopped from outside."""
    jobs = [_job(t, run_dir, history, plan, models, options) for t in plan.trials if not _is_finished(t, history)]
    concurrency = 1 if options.backend == "local" else options.concurrency or plan.study.concurrency
    at_a_time = concurrency or runner.capacity(plan.study.resources, runner.cpu_cores())
    show.begin(Scoreboard(len(plan.trials), at_a_time, plan.study.metric.name, history.trials))
    trials = {trial.id: trial for trial in plan.trials}
    sink = Recorder(run_dir, writer, plan.study.metric, trials, [tracker.add, show.trial])
    queue = Queue(jobs, options.max_retries)
    try:
        if jobs and options.backend == "local":
            runner.run_local(queue, sink)
        elif jobs:
            storage = options.storage or str((run_dir / "ray").resolve())
            runner.run_ray(queue, sink, plan.study.resources, concurrency, runner.RayOptions(storage, options.address))
    except KeyboardInterrupt:
        return True
    finally:
        show.end()
    return False


def _is_finished(trial: Trial, history: History) -> bool:
    return history.trials.get(trial.id, {}).get("state") in FINISHED


def _job(trial: Trial, run_dir: Path, history: History, plan: Plan, models: dict[str, Any], options: Options) -> Job:
    before = history.trials.get(trial.id)
    teacher = models[_model_key(trial.config)].teacher if trial.role == "teacher" else None
    return Job(
        trial=trial.id,
        attempt=before["attempt"] + 1 if before else 1,
        config=trial.config,
        directory=str((run_dir / "trials" / trial.id).resolve()),
        metric=plan.study.metric.name,
        trainer=options.trainer,
        teacher_path=str(teacher.path) if teacher else None,
    )


# ---- models -------------------------------------------------------------------------------------------------------


def _model_key(config: dict[str, Any]) -> str:
    """Trials that share teacher and base student: the same models on the same environment, whatever the horizon."""
    env = {key: value for key, value in config["env"].items() if key != "horizon"}
    own = [config[role] for role in ("teacher", "student")]
    unmixed = any(model["kind"] == "compact" and not model["recipe"]["horizons"] for model in own)
    return content_hash([env, own, config["env"]["horizon"] if unmixed else None])


def _ensure_models(plan: Plan, options: Options, show: Progress) -> dict[str, Any]:
    """Every pair of models that the trials need, built or found once, before any worker asks."""
    ensure = load(options.trainer.ensure)
    models: dict[str, Any] = {}
    for trial in plan.trials:
        key = _model_key(trial.config)
        if key not in models:
            models[key] = ensure(validate(Train, trial.config, trial.id), show.note)
            show.note(_describe(models[key]), event="models", **asdict(models[key]))
    return models


def _describe(models: Any) -> str:
    parts = []
    for role, ref in (("teacher", models.teacher), ("base student", models.student)):
        if ref is not None:
            how = f"built in {progress.clock(ref.seconds)}" if ref.built else "found"
            success = f"  (success {ref.success:.2f})" if ref.success is not None else ""
            parts.append(f"{role}  {how}{success}")
    return "          ".join(parts)


# ---- words ----------------------------------------------------------------------------------------------------------


def _announce(show: Progress, plan: Plan, options: Options) -> None:
    study = plan.study
    envs = sorted({t.config["env"]["id"] for t in plan.trials})
    horizons = sorted({t.config["env"]["horizon"] for t in plan.trials})
    cores = runner.cpu_cores()
    at_a_time = options.concurrency or study.concurrency or runner.capacity(study.resources, cores)
    where = "in this process" if options.backend == "local" else f"{at_a_time} at a time on {cores} CPUs"
    where = f"on the Ray cluster at {options.address}" if options.address else where
    arms = f"{len(study.arms)} arms" + (f" + {len(study.controls)} controls" if study.controls else "")
    show.note(
        f"{study.name} · {arms} × {len(study.seed_list)} seeds · {', '.join(envs)}, "
        f"horizon {', '.join(map(str, horizons))} · {len(plan.trials)} trials, {where}",
        event="begin",
        name=study.name,
        trials=len(plan.trials),
        definition_hash=plan.definition_hash,
    )


def _study_row(plan: Plan, options: Options) -> ledger.Row:
    from atod_sweep.training import NUMERICS

    study = plan.study
    return {
        "event": "study",
        "time": time.time(),
        "name": study.name,
        "question": study.question,
        "reference": study.reference_arm,
        "metric": study.metric.model_dump(mode="json"),
        "hypotheses": [{**claim.model_dump(mode="json"), "sentence": str(claim)} for claim in study.hypotheses],
        "arms": list(study.arms),
        "controls": list(study.controls),
        "factors": {factor: list(levels) for factor, levels in study.factors.items()},
        "seeds": study.seed_list,
        "definition": plan.definition,
        "definition_hash": plan.definition_hash,
        "argv": list(options.argv or sys.argv),
        "versions": provenance.versions(),
        "numerics": NUMERICS,
        "git": provenance.git_revision(),
        "hardware": provenance.hardware(),
    }


def _is_news(old: ledger.Row | None, row: ledger.Row) -> bool:
    """True if anything but the time and the command line (and the seconds of a rebuilt model) differs."""
    if old is None:
        return True
    return any(old.get(key) != row[key] for key in row if key not in ("time", "argv", "models", "id"))


def _close(tracker: Background, mirror: Mirror, status: str, show: Progress, run_dir: Path) -> None:
    behind = not tracker.close(MLFLOW_PATIENCE)
    try:
        mirror.end(status)
    except Exception as error:  # the ledger has everything; MLflow is a mirror that can be caught up
        tracker.problem, behind = " ".join(str(error).split())[:200], True
    if behind:
        show.note(f"MLflow is behind the ledger ({tracker.problem}); catch up with: atod-sweep sync {run_dir}")


def _outcome(plan: Plan, run_dir: Path, history: History, stopped: bool, seconds: float) -> Outcome:
    rows = [row for trial in plan.trials if (row := history.trials.get(trial.id))]
    failures = tuple(row for row in rows if row["state"] == "FAILED")
    counts = {state: sum(row["state"] == state for row in rows) for state in ("COMPLETE", "PRUNED")}
    return Outcome(
        run_dir, len(plan.trials), counts["COMPLETE"], len(failures), counts["PRUNED"], stopped, seconds, failures
    )
