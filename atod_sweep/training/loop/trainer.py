"""The training loop: evaluate, roll out, score, update, report. Runs on one CPU core, one GPU or several."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from atod_sweep.config.models import Pretrained, Student, Teacher
from atod_sweep.config.teachers import ChatTeacher, ServerTeacher
from atod_sweep.config.train import Train
from atod_sweep.training.loop.books import Result, Row, numbers
from atod_sweep.training.loop.build import assemble, evaluate_saved, evaluate_served
from atod_sweep.training.models import kept
from atod_sweep.training.play.evaluate import habits, summary
from atod_sweep.training.runtime import check_autocast

Report = Callable[[list[Row]], None]


def train(
    config: Train, directory: Path, report: Report = lambda rows: None, resume: bool = False, mutable: bool = False
) -> Result:
    """Train one student.

    `report` gets every row of metrics, evaluation by evaluation: the first call holds the evaluation at step 0, one
    after the last evaluation the final one on fresh tasks, where there is any. With several processes the main one
    reports, for all of them.
    Checkpoints go to `directory/checkpoint`, the trained student to `directory/student`; with `resume`, training goes
    on from the newest whole checkpoint there, and every later row is what an uninterrupted run would have reported.
    With `mutable`, the checkpoint may also come from a config with other schedules, weights, rate or temperature.
    Raises UserError for a config that cannot run here, and TrialError for a trial that cannot go on.
    """
    if config.runtime.precision == "bf16":
        check_autocast(config.runtime.device)
    run = assemble(config, directory, resume, mutable)
    is_main = run.accelerator.is_main_process

    def tell(rows: list[Row]) -> None:
        kept.rest()
        if is_main:
            report(rows)
        kept.rest(False)

    rows = run.unreported
    for step in range(run.step, config.steps):
        if step % config.evaluation.every == 0:
            rows.append(run.books.evaluation(step))
            tell(rows)
            rows = []
        started = time.perf_counter()
        collected = run.algorithm.collect(run.stage, step)
        rolled_out = time.perf_counter() - collected.score_seconds
        metrics = collected.metrics
        if step % config.diagnostics_every == 0:
            metrics |= run.updater.gradient_norms(collected.batch, run.algorithm.terms)
        updating = time.perf_counter()
        metrics |= run.updater.apply(collected.batch, run.algorithm.terms, step, run.stage.temperature(step))
        run.updater.optimiser.zero_grad(set_to_none=True)  # as large as the model, and nobody asks while episodes play
        played = summary(collected.outcomes) | habits(collected.outcomes)
        metrics |= {f"rollout/{name}": value for name, value in played.items()}
        metrics |= {
            "seconds/rollout": rolled_out - started,
            "seconds/score": collected.score_seconds,
            "seconds/update": time.perf_counter() - updating,
        }
        lr = run.updater.optimiser.param_groups[0]["lr"]
        row = run.books.row(step, metrics, lr, seconds=time.perf_counter() - started)
        run.algorithm.measured(row)
        rows.append(row)
        if run.is_checkpoint(step + 1):
            run.save(step + 1, rows)
    last = run.books.evaluation(config.steps)
    rows.append(last)
    tell(rows)
    final = run.books.final()
    if final:
        tell([final])
    run.finish()
    kept.rest()
    return run.books.result(last | final)


def evaluate_model(config: Train, path: str | Path, role: Literal["teacher", "base"] = "teacher") -> Row:
    """`eval/*`, `retention/*` and `final/*` of the config's teacher, or of its student before training, at `path`.

    Numbers, and where final sets are played `final/outcomes`, task by task.
    """
    if role == "teacher" and isinstance(config.teacher, ServerTeacher | ChatTeacher):
        return _told(evaluate_served(config, config.teacher))
    model = config.teacher if role == "teacher" else config.student
    bare = model
    if isinstance(model, Pretrained):
        bare = model.model_copy(update={"lora": None}) if model.recipe is None else model.made(str(path))
    return _told(_evaluation_of(bare, config, path, role))


def _told(found: Row) -> Row:
    return numbers(found) | {key: found[key] for key in ("final/outcomes",) if key in found}


def evaluate_student(config: Train, path: str | Path) -> dict[str, float]:
    """`eval/*` of a whole trained student at `path` on the config's held-out tasks."""
    student = config.student
    whole = student.made(str(path)) if isinstance(student, Pretrained) else student
    return numbers(_evaluation_of(whole, config, path, None))


def _evaluation_of(
    model: Student | Teacher, config: Train, path: str | Path, role: Literal["teacher", "base"] | None
) -> Row:
    how = model if isinstance(model, Pretrained) else Pretrained(path="")  # it is addressed as it was in training
    return evaluate_saved(config, how.model_copy(update={"path": str(path)}), role)
