"""The training loop: evaluate, roll out, score, update, report. Runs on one CPU core, one GPU or several."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from atod_sweep.config.models import Pretrained, Student, Teacher
from atod_sweep.config.teachers import ChatTeacher, ServerTeacher
from atod_sweep.config.train import Train
from atod_sweep.training.loop import samples
from atod_sweep.training.loop.build import assemble, evaluate_saved, evaluate_served
from atod_sweep.training.loop.trial import TrialState
from atod_sweep.training.play.evaluate import evaluate_final, evaluated, habits, summary
from atod_sweep.training.runtime import check_autocast

Row = dict[str, Any]
Report = Callable[[list[Row]], None]


@dataclass(frozen=True)
class Result:
    """How a trial ended: its last evaluation and its final one, if there was any, and what it cost in total."""

    final: dict[str, float]
    cost: dict[str, float]


def _silent(_: list[Row]) -> None:
    """Report to nobody."""


def train(
    config: Train, directory: Path, report: Report = _silent, resume: bool = False, mutable: bool = False
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
    if not run.accelerator.is_main_process:
        report = _silent
    rows = run.unreported
    for step in range(run.step, config.steps):
        if step % config.evaluation.every == 0:
            rows.append(_evaluation(run, step))
            report(rows)
            rows = []
        started = time.perf_counter()
        collected = run.algorithm.collect(run.stage, step)
        rolled_out = time.perf_counter() - collected.score_seconds
        metrics = collected.metrics
        if step % config.diagnostics_every == 0:
            metrics |= run.updater.gradient_norms(collected.batch, run.algorithm.terms)
        updating = time.perf_counter()
        metrics |= run.updater.apply(collected.batch, run.algorithm.terms, step, run.stage.temperature(step))
        played = summary(collected.outcomes) | habits(collected.outcomes)
        metrics |= {f"rollout/{name}": value for name, value in played.items()}
        metrics |= {
            "seconds/rollout": rolled_out - started,
            "seconds/score": collected.score_seconds,
            "seconds/update": time.perf_counter() - updating,
        }
        row = run.row(step, metrics, seconds=time.perf_counter() - started)
        run.algorithm.measured(row)
        rows.append(row)
        if run.is_checkpoint(step + 1):
            run.save(step + 1, rows)
    last = _evaluation(run, config.steps)
    rows.append(last)
    report(rows)
    final = _final(run)
    if final:
        report([final])
    run.finish()
    return Result(_numbers(last | final), run.cost())


def _evaluation(run: TrialState, step: int) -> Row:
    started = time.perf_counter()
    found, played = evaluated(run.stage.policy, run.evaluation_player, run.config.evaluation)
    if run.accelerator.is_main_process:
        temperature = run.config.evaluation.temperature or 1.0  # greedy log-probs are those at 1
        samples.write(run.directory, step, samples.of(played, run.stage.teacher, temperature, run.stage.score_tokens))
    return {"phase": "eval", "step": step, **found, **run.bill(time.perf_counter() - started, "eval")}


def _final(run: TrialState) -> Row:
    started = time.perf_counter()
    found = evaluate_final(run.stage.policy, run.evaluation_player, run.config.evaluation)
    bill = run.bill(time.perf_counter() - started, "final") if found else {}
    return {"phase": "final", "step": run.config.steps, **found, **bill} if found else {}


def evaluate_model(config: Train, path: str | Path, role: Literal["teacher", "base"] = "teacher") -> Row:
    """`eval/*` and `final/*` of the config's teacher, or of its student before training, which lies at `path`.

    Numbers, and where final sets are played `final/outcomes`, task by task.
    """
    if role == "teacher" and isinstance(config.teacher, ServerTeacher | ChatTeacher):
        return _told(evaluate_served(config, config.teacher))
    model: Any = config.teacher if role == "teacher" else config.student
    bare = model
    if isinstance(model, Pretrained):
        bare = model.model_copy(update={"lora": None}) if model.recipe is None else model.made(str(path))
    return _told(_evaluation_of(bare, config, path, final=True))


def _told(found: Row) -> Row:
    return _numbers(found) | {key: found[key] for key in ("final/outcomes",) if key in found}


def evaluate_student(config: Train, path: str | Path) -> dict[str, float]:
    """`eval/*` of a whole trained student at `path` on the config's held-out tasks."""
    student = config.student
    whole = student.made(str(path)) if isinstance(student, Pretrained) else student
    return _numbers(_evaluation_of(whole, config, path, final=False))


def _evaluation_of(model: Student | Teacher, config: Train, path: str | Path, final: bool) -> Row:
    how = model if isinstance(model, Pretrained) else Pretrained(path="")  # it is addressed as it was in training
    return evaluate_saved(config, how.model_copy(update={"path": str(path)}), final)


def _numbers(row: Row) -> dict[str, float]:
    """The evaluation metrics of a row that are single numbers."""
    told = ("eval/", "final/")
    return {key: value for key, value in row.items() if key.startswith(told) and isinstance(value, int | float)}
