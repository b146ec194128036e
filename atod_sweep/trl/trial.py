"""One trial through TRL: our models, environments, tasks, evaluations and records around its GRPO trainer."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback

from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.objective import own_code
from atod_sweep.records import layout
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.algorithms.stage import Stage
from atod_sweep.training.loop.books import Books, Result, Row
from atod_sweep.training.loop.build import Company, accelerator_for, gather
from atod_sweep.training.loop.optimiser import rate
from atod_sweep.training.loop.trial import save_student
from atod_sweep.training.play.evaluate import habits, summary
from atod_sweep.training.play.talk import Growing
from atod_sweep.training.teachers.local import LocalTeacher
from atod_sweep.trl.recorder import Recorder
from atod_sweep.trl.refusals import check
from atod_sweep.trl.rollouts import EnginePlayer, as_trl, engine_of, total_reward
from atod_sweep.trl.shim import scheduled_trainer

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
    with scheduled_trainer(config, directory / EXPORT) as scheduled:
        trainer, recorder = _trainer(scheduled, config, directory, company, report)
        if not resume and rank == 0:  # or a later resume would take up what an earlier run left here
            shutil.rmtree(directory / layout.CHECKPOINT, ignore_errors=True)
        newest = recorder.restore() if resume else None
        company.settle(directory, goes_on=newest is not None)
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        last = recorder.evaluate(config.steps)
    final = recorder.books.final()
    if final and recorder.books.accelerator.is_main_process:
        report([final])
    if recorder.books.accelerator.is_main_process:
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
    if not isinstance(voice.conversation, Growing):
        raise UserError(
            "trainer.kind: 'trl' trains on one sequence per episode, and the student's chat template renders every "
            "turn anew; use trainer.kind: atod, or a template that renders a conversation the same as it grows"
        )
    if voice.conversation.thinking is not None:
        raise UserError("trainer.kind: 'trl' cannot end thoughts at their budget; use trainer.kind: atod")
    if (teacher := stage.teacher) is not None:
        if not isinstance(teacher, LocalTeacher):
            raise UserError("trainer.kind: 'trl' asks a teacher whose weights are here; use trainer.kind: atod")
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
    engine = stage.player = EnginePlayer(evaluations.batch, talk, limits, at_once=evaluations.at_once)

    class Trainer(scheduled):
        """Follows the config's learning rate, and tells what its losses are made of."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            def factor(step: int) -> float:
                return rate(config.optimiser, step, config.steps) / config.optimiser.lr

            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
            return self.lr_scheduler

        def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            found = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
            self.said[model is getattr(self, "teacher", None)] = found[0].detach()
            return found

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
            loss = super()._compute_loss(model, inputs)
            mask = inputs["completion_mask"] * inputs["tool_mask"]
            count, told = int(mask.sum()), self._metrics["train"]
            found = {
                "weight/applied_teacher": told["schedule/distill"][-1],
                "rollout/token_entropy": told["entropy"][-1],
            }
            others = {"kl/teacher": self.said.get(True), "kl/reference": inputs.get("ref_per_token_logps")}
            for name, theirs in others.items():
                if theirs is not None:
                    found[name] = float(((self.said[False] - theirs) * mask).sum()) / count
            for name, mean in found.items():  # over the passes of a step, by their tokens
                total, tokens = self.sums.get(name, (0.0, 0))
                self.sums[name] = total, tokens = total + mean * count, tokens + count
                recorder.measured[name] = total / tokens
            return loss

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        started, step = time.perf_counter(), trainer.state.global_step
        trainer.said, trainer.sums = {}, {}
        episodes = stage.play(stage.policy, step, [int(task) for task in prompts])
        stage.policy.model.train()  # by which TRL tells training from evaluation, and a policy that played is not
        sampled = not bool(episodes.logp_N.isnan().any())
        played = summary(episodes.outcomes) | habits(episodes.outcomes, sampled)
        recorder.measured |= {f"rollout/{name}": value for name, value in played.items()}
        if stage.teacher is not None and recorder.weights(step)["weight/distill"] > 0:
            recorder.measured["teacher_tokens"] = episodes.tokens
        recorder.measured["seconds/rollout"] = time.perf_counter() - started
        return as_trl(episodes)

    trainer = Trainer(
        teacher=stage.teacher.policy.model if isinstance(stage.teacher, LocalTeacher) else None,
        model=stage.policy.model,
        args=settings(config, directory, talk.answer_tokens(limits.action_tokens), sorted(talk.stop_ids)),
        reward_funcs=[total_reward],
        rollout_func=rollout,
        train_dataset=Dataset.from_dict({"prompt": _tasks(stage)}),
        processing_class=voice.tokenizer,
    )
    if trainer.is_fsdp_enabled or (trainer.is_deepspeed_enabled and trainer.args.deepspeed_plugin.zero_stage == 3):
        raise UserError(
            "trainer.args: evaluation reads weights whole, and this splits them; use DeepSpeed's stage 1 or 2"
        )
    engine.engine = engine_of(trainer)
    trainer.remove_callback(PrinterCallback)
    books = Books(directory, stage, evaluations, trainer.accelerator)
    recorder = Recorder(config, books, directory / layout.CHECKPOINT, report)
    trainer.add_callback(recorder)
    return trainer, recorder


def _tasks(stage: Stage) -> list[str]:
    """The tasks of all steps, in their order, each once: the seeds that our own loop would draw."""
    config = stage.config
    everyone = replace(stage, rank=0, world=1)
    return [str(task) for _ in range(config.steps) for task in everyone.draw_tasks()[:: config.rollout.group_size]]
