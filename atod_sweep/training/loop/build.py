"""A trial from its config: models, environments, algorithm and optimiser, put together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from atod_sweep.config.models import Pretrained
from atod_sweep.config.teachers import ChatTeacher, ServerTeacher
from atod_sweep.config.train import Train
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.contract import HasActions
from atod_sweep.envs.pool import Pool, open_batch
from atod_sweep.errors import UserError
from atod_sweep.objective import own_code
from atod_sweep.records import layout
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.algorithms.stage import Stage
from atod_sweep.training.loop import cast, found, teaching
from atod_sweep.training.loop.optimiser import adamw
from atod_sweep.training.loop.trial import TrialState
from atod_sweep.training.loop.update import Updater
from atod_sweep.training.models import adapters
from atod_sweep.training.play.evaluate import evaluate, evaluate_final
from atod_sweep.training.play.truncation import Truncation
from atod_sweep.training.pretraining import cache as models
from atod_sweep.training.randomness import numpy_generator, torch_generator
from atod_sweep.training.runtime import keep_freed_memory, torch_dtype, use_threads
from atod_sweep.training.scoring import SCORING_TOKENS
from atod_sweep.training.teachers.local import LocalTeacher
from atod_sweep.training.teachers.teacher import Teacher


def assemble(config: Train, directory: Path, resume: bool, mutable: bool = False) -> TrialState:
    """A trial; with `resume`, at its newest whole checkpoint (or at step 0 if there is none).

    `mutable`: that checkpoint may come from other schedules and rates.
    """
    own_code.check(config)
    algorithm_of = ALGORITHMS[config.objective.kind]
    needs = algorithm_of.needs(config)
    accelerator = _accelerator(config)
    _check_tasks(config, accelerator.num_processes)
    refs = models.ensure(config)
    device = accelerator.device
    learner = cast.source_of(config.student, refs.student)
    if isinstance(config.student, Pretrained):  # what a recipe made is whole, and gets adapters of its own
        learner = learner.model_copy(update={"lora": config.student.lora})
    voice, policy = cast.student(config, learner, device, needs)
    before = found.kept(directory) if resume else None
    frozen_dtype = found.precision(config, before, device)
    dtype = torch_dtype(frozen_dtype, device)
    episodes = max(config.rollout.tasks * config.rollout.group_size, _most_tasks(config))
    player = voice.player(config, _batch(config, episodes))
    teacher = teaching.teacher(config, refs, voice, player, dtype, device, needs)
    algorithm = algorithm_of(config, teacher, cast.reference(policy, dtype, needs, adapters.are_fresh(config.student)))
    rank = accelerator.process_index
    stage = Stage(
        config=config,
        policy=policy,
        player=player,
        teacher=teacher,
        tasks=numpy_generator(config.seed, "tasks"),
        sampling=torch_generator(config.seed, f"sampling {rank}", device),
        score_tokens=SCORING_TOKENS if device.type == "cpu" else 16 * SCORING_TOKENS,
        rank=rank,
        world=accelerator.num_processes,
    )
    trained = [p for p in policy.parameters() if p.requires_grad]
    wrapped, optimiser = accelerator.prepare(policy, adamw(config.optimiser, trained))
    updater = Updater(accelerator, wrapped, optimiser, config, numpy_generator(config.seed, f"minibatches {rank}"))
    run = TrialState(config, directory, accelerator, stage, player, algorithm, updater, voice.tokenizer, mutable)
    loaded = {"student": policy.model} | _weights(teacher)
    now = found.Found(frozen_dtype, found.fingerprints(config, refs, loaded))
    if resume:
        run.restore()
    elif accelerator.is_main_process:  # or a later resume would take up what an earlier run left here
        shutil.rmtree(directory / layout.CHECKPOINT, ignore_errors=True)
    if before is not None and run.step > 0:
        found.check_same(before, now, config)
    elif accelerator.is_main_process and (now.models or config.frozen_dtype == "auto"):
        now.keep(directory)
    return run


def _weights(teacher: Teacher | None) -> dict[str, Any]:
    """The teacher's model, where it is here."""
    return {"teacher": teacher.policy.model} if isinstance(teacher, LocalTeacher) else {}


def evaluate_saved(config: Train, source: Pretrained, final: bool) -> dict[str, Any]:
    """`eval/*` of a saved model on the config's held-out tasks; with `final`, `final/*` on its final sets as well."""
    accelerator = _accelerator(config)
    dtype = torch_dtype(source.dtype, accelerator.device)
    voice = cast.Voice.load("student", source, config.rollout, dtype)
    batch = _batch(config, _most_tasks(config))
    policy, player = voice.policy(accelerator.device), voice.player(config, batch)
    row = evaluate(policy, player, config.evaluation)
    if final:
        row |= evaluate_final(policy, player, config.evaluation)
    batch.close()
    return row


def evaluate_served(config: Train, served: ServerTeacher | ChatTeacher) -> dict[str, Any]:
    """`eval/*` of a teacher behind an API on the config's held-out tasks, and `final/*` where there are final sets.

    Raises UserError, TeacherUnreachable.
    """
    if Truncation.of(config.evaluation) is not None:
        raise UserError(
            "evaluation: teachers behind an API are not asked to sample among the likelier tokens; leave out top_k, "
            "top_p and min_p, or the control teacher"
        )
    accelerator = _accelerator(config)
    learner = cast.source_of(config.student, models.ensure(config).student)
    batch = _batch(config, _most_tasks(config))
    player = cast.Voice.load("student", learner, config.rollout).player(config, batch)
    itself: Any = teaching.Itself(teaching.remote(served, config, player, accelerator.device, scores=False))
    row = evaluate(itself, itself, config.evaluation) | evaluate_final(itself, itself, config.evaluation)
    batch.close()
    return row


def _most_tasks(config: Train) -> int:
    """The largest number of tasks that one evaluation plays."""
    return max(config.evaluation.tasks, config.evaluation.final.tasks if config.evaluation.final else 0)


def _accelerator(config: Train) -> Accelerator:
    use_threads(config.runtime.threads)
    keep_freed_memory()
    wanted = config.runtime.device
    _take_device(wanted)
    accelerator = Accelerator(cpu=wanted == "cpu")
    if config.runtime.gpu_memory_fraction is not None and accelerator.device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(config.runtime.gpu_memory_fraction, accelerator.device)
    return accelerator


def _check_tasks(config: Train, processes: int) -> None:
    if config.rollout.tasks < processes:
        raise UserError(
            f"rollout.tasks: {config.rollout.tasks}, but {processes} processes share the tasks; "
            f"set it to at least {processes}, or launch fewer processes"
        )


def _take_device(wanted: str) -> None:
    """Make the Nth device of `cuda:N` the one that "cuda" means. Data-parallel processes choose by their rank."""
    if not wanted.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise UserError(f"runtime.device: {wanted!r}, but this machine has no CUDA device; use auto or cpu")
    if ":" in wanted:
        index, there = int(wanted.split(":")[1]), torch.cuda.device_count()
        if index >= there:
            raise UserError(f"runtime.device: {wanted!r}, but the last CUDA device is cuda:{there - 1}; use auto")
        torch.cuda.set_device(index)


def _batch(config: Train, size: int) -> Batch | Pool:
    if config.rollout.admissible:
        expert: Any = Checked(config.env).unwrapped
        if not isinstance(expert, HasActions):
            raise UserError(
                f"rollout.admissible: env.id {config.env.id!r} has no actions() that tells which are; add that method, "
                "or leave admissible out"
            )
    return open_batch(config.env, size, workers=config.runtime.threads, timeout=config.rollout.step_timeout)
