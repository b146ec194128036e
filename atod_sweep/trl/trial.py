"""One trial through TRL: our models, environments, tasks, evaluations and records around its GRPO trainer."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from transformers import PreTrainedConfig, PrinterCallback

from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.objective import own_code
from atod_sweep.records import layout
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.algorithms.stage import Stage
from atod_sweep.training.loop.books import Books, Result, Row
from atod_sweep.training.loop.build import Company, accelerator_for, gather
from atod_sweep.training.loop.trial import save_student
from atod_sweep.training.teachers.local import LocalTeacher
from atod_sweep.trl.recorder import Recorder
from atod_sweep.trl.refusals import check
from atod_sweep.trl.rollouts import EnginePlayer, engine_of, rollout_function, total_reward
from atod_sweep.trl.shim import scheduled_trainer
from atod_sweep.trl.watched import watched

EXPORT = "trl"  # the folder of a trial that holds its export


def train(
    config: Train,
    directory: Path,
    report: Callable[[list[Row]], None],
    resume: bool = False,
    mutable: bool = False,
) -> Result:
    """`training.loop.trainer.train`, by TRL: the same rows, evaluations, folders and errors.

    `mutable` is refused: what a checkpoint of TRL holds goes on as it was.
    """
    if mutable:
        raise UserError("trainer.kind: 'trl' cannot change a trial in mid-run; use trainer.kind: atod")
    check(config)
    own_code.check(config)
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # it warns of rollout functions
    warnings.filterwarnings("ignore", "`?(is_)?gradient_checkpointing", FutureWarning)  # TRL's own words
    start = accelerator_for(config)  # TRL makes one of its own
    rank, world, needs = start.process_index, start.num_processes, ALGORITHMS[config.objective.kind].needs(config)
    company = gather(config, directory, resume, needs, start.device, rank, world)
    _fits(config, company, world)
    with scheduled_trainer(config, directory / EXPORT) as scheduled, ExitStack() as after:
        # Accelerate keeps one precision per process: a later trial here shall not inherit this one's.
        after.callback(AcceleratorState._reset_state, reset_partial_state=True)
        trainer, recorder = _trainer(scheduled, config, directory, company, report)
        if not resume and rank == 0:  # or a later resume would take up what an earlier run left here
            shutil.rmtree(directory / layout.CHECKPOINT, ignore_errors=True)
        newest = recorder.restore() if resume else None
        company.settle(directory, goes_on=newest is not None)
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        last = recorder.evaluate(config.steps)
        final = recorder.books.final()
        if recorder.books.accelerator.is_main_process:
            if final:
                report([final])
            model = company.stage.policy.model
            if "ref" in getattr(model, "peft_config", {}):
                model.delete_adapter("ref")
            save_student(config, directory, model, company.voice.tokenizer)
        recorder.books.close()
        trainer.accelerator.wait_for_everyone()
        return recorder.books.result(last | final)


def _fits(config: Train, company: Company, world: int) -> None:
    """UserError for models that TRL's trainer, or its exported subclass, would compute with otherwise than we do."""
    stage, voice = company.stage, company.voice
    if voice.conversation.thinking is not None:
        raise UserError("trainer.kind: 'trl' cannot end thoughts at their budget; use trainer.kind: atod")
    if isinstance(teacher := stage.teacher, LocalTeacher):
        if hasattr(teacher.policy.model, "peft_config"):
            raise UserError("trainer.kind: 'trl' takes a whole teacher, not adapters; merge them into their base")
        ours, theirs = (policy.head.weight.shape[0] for policy in (stage.policy, teacher.policy))
        if ours != theirs:
            raise UserError(
                f"trainer.kind: 'trl' compares logits as they are, and the student has {ours}, the teacher {theirs}; "
                "use models of one width, or trainer.kind: atod"
            )
    if world == 1 and stage.policy.device.type == "cuda" and torch.cuda.device_count() > 1:
        raise UserError(
            f"trainer.kind: 'trl' would split a trial over all {torch.cuda.device_count()} GPUs that it sees; show it "
            "one with CUDA_VISIBLE_DEVICES, or start it with accelerate launch"
        )


def _trainer(
    scheduled: Any, config: Train, directory: Path, company: Company, report: Callable[[list[Row]], None]
) -> tuple[Any, Recorder]:
    """TRL's trainer under the export's schedule, fed by our tasks and environments, and who keeps its books."""
    from datasets import Dataset

    from atod_sweep.trl.settings import settings

    stage, voice = company.stage, company.voice
    talk, limits, evaluations = voice.conversation, stage.player.limits, stage.player
    retention = company.retention(None)  # it copies the student before TRL touches it
    engine = stage.player = EnginePlayer(evaluations.batch, talk, limits, at_once=evaluations.at_once)

    measured: dict[str, Any] = {}  # of the step that is under way
    args = settings(config, directory, talk.answer_tokens(limits.action_tokens), sorted(talk.stop_ids))
    try:
        trainer = watched(scheduled, config, measured)(
            teacher=stage.teacher.policy.model if isinstance(stage.teacher, LocalTeacher) else _nobody(),
            model=stage.policy.model,
            args=args,
            reward_funcs=[total_reward],
            rollout_func=rollout_function(stage, measured),
            train_dataset=Dataset.from_dict({"prompt": _tasks(stage)}),
            processing_class=voice.tokenizer,
        )
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"trainer.kind: 'trl': TRL does not take this: {' '.join(str(error).split())}") from None
    if trainer.is_fsdp_enabled or (trainer.is_deepspeed_enabled and trainer.args.deepspeed_plugin.zero_stage == 3):
        raise UserError(
            "trainer.args: evaluation reads weights whole, and this splits them; use DeepSpeed's stage 1 or 2"
        )
    engine.engine = engine_of(trainer)
    trainer.remove_callback(PrinterCallback)
    books = Books(directory, stage, evaluations, trainer.accelerator, retention)
    recorder = Recorder(config, books, directory / layout.CHECKPOINT, report, measured)
    trainer.add_callback(recorder)
    return trainer, recorder


def _nobody() -> Any:
    """A teacher that is never asked: the exported trainer has one, also where its weight is always 0."""
    nobody = torch.nn.Module()
    nobody.config = PreTrainedConfig()
    return nobody


def _tasks(stage: Stage) -> list[str]:
    """The tasks of all steps, in their order, each once: the seeds that our own loop would draw."""
    config = stage.config
    everyone = replace(stage, rank=0, world=1)
    return [str(task) for _ in range(config.steps) for task in everyone.draw_tasks()[:: config.rollout.group_size]]
