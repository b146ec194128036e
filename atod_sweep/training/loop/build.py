"""A trial from its config: models, environments, algorithm and optimiser, put together."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator

from atod_sweep.config.models import Pretrained
from atod_sweep.config.teachers import ChatTeacher, ServerTeacher
from atod_sweep.config.train import Train
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.contract import Split
from atod_sweep.envs.pool import Pool, open_batch
from atod_sweep.errors import UserError
from atod_sweep.objective import own_code
from atod_sweep.records import layout
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.algorithms.stage import Needs, Stage
from atod_sweep.training.loop import cast, found, memory, teaching
from atod_sweep.training.loop.books import Books, proxy
from atod_sweep.training.loop.optimiser import adamw
from atod_sweep.training.loop.trial import TrialState
from atod_sweep.training.loop.update import Updater
from atod_sweep.training.models import adapters
from atod_sweep.training.models.kept import forget, key_of
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import evaluate, evaluate_final, evaluated
from atod_sweep.training.play.retention import Retention, Texts, encoded
from atod_sweep.training.play.rewards import stand_in
from atod_sweep.training.play.truncation import Truncation
from atod_sweep.training.pretraining import cache as models
from atod_sweep.training.randomness import numpy_generator, torch_generator
from atod_sweep.training.runtime import keep_freed_memory, torch_dtype, use_threads
from atod_sweep.training.scoring import scoring_tokens
from atod_sweep.training.teachers.local import LocalTeacher
from atod_sweep.training.teachers.shared import Held, Shared


@dataclass(frozen=True)
class Company:
    """The models of a trial on their stage; `voice`: the student's. `before` and `now`: what was and is found."""

    stage: Stage
    voice: cast.Voice
    before: found.Found | None
    now: found.Found

    def settle(self, directory: Path, goes_on: bool) -> None:
        """Hold a training that `goes_on` to the models that it began with; of another, keep what was found."""
        config = self.stage.config
        if self.before is not None and goes_on:
            found.check_same(self.before, self.now, config)
        elif self.stage.rank == 0 and (self.now.models or config.frozen_dtype == "auto"):
            self.now.keep(directory)

    def retention(self, initial: Policy | None) -> Retention | None:
        """What the student is asked beside its own tasks, before it learns; None if nothing is.

        `initial`: the student as it is then, for good, if there is one already.
        """
        stage = self.stage
        config, policy = stage.config, stage.policy
        found = _retention(config, self.voice, stage.player, stage.score_tokens, policy.device)
        if found is not None:
            dtype = torch_dtype(self.now.frozen_dtype, policy.device)
            found.initial = initial or cast.initial(policy, dtype, adapters.are_fresh(config.student))
        return found


def assemble(config: Train, directory: Path, resume: bool, mutable: bool = False) -> TrialState:
    """A trial; with `resume`, at its newest whole checkpoint (or at step 0 if there is none).

    `mutable`: that checkpoint may come from other schedules and rates.
    """
    own_code.check(config)
    algorithm_of = ALGORITHMS[config.objective.kind]
    needs = algorithm_of.needs(config)
    accelerator = accelerator_for(config)
    rank, world = accelerator.process_index, accelerator.num_processes
    company = gather(config, directory, resume, needs, accelerator.device, rank, world)
    stage, policy = company.stage, company.stage.policy
    dtype = torch_dtype(company.now.frozen_dtype, accelerator.device)
    reference = cast.reference(policy, dtype, needs, adapters.are_fresh(config.student))
    algorithm = algorithm_of(config, stage.teacher, reference)
    trained = [p for p in policy.parameters() if p.requires_grad]
    wrapped, optimiser = accelerator.prepare(policy, adamw(config.optimiser, trained))
    updater = Updater(accelerator, wrapped, optimiser, config, numpy_generator(config.seed, f"minibatches {rank}"))
    retention = company.retention(reference if needs.reference == "frozen" else None)
    books = Books(directory, stage, stage.player, accelerator, retention, _untrained(company, directory))
    run = TrialState(config, directory, accelerator, stage, books, algorithm, updater, company.voice.tokenizer, mutable)
    if resume:
        run.restore()
    elif accelerator.is_main_process:  # or a later resume would take up what an earlier run left here
        shutil.rmtree(directory / layout.CHECKPOINT, ignore_errors=True)
    company.settle(directory, goes_on=run.step > 0)
    return run


def gather(
    config: Train, directory: Path, resume: bool, needs: Needs, device: torch.device, rank: int, world: int
) -> Company:
    """Load the models of a trial, and open its environments, for process `rank` of `world`."""
    _check_tasks(config, world)
    refs = models.ensure(config)
    learner = cast.source_of(config.student, refs.student)
    if isinstance(config.student, Pretrained):  # what a recipe made is whole, and gets adapters of its own
        learner = learner.model_copy(update={"lora": config.student.lora})
    if refs.teacher is None:
        forget()
    voice, policy = cast.student(config, learner, device, needs)
    before = found.kept(directory) if resume else None
    frozen_dtype = found.precision(config, before, device)
    at_once = memory.at_once(config)
    tasks: dict[Split, int] = {"train": config.rollout.tasks * config.rollout.group_size, "eval": _most_tasks(config)}
    player = voice.player(config, _batch(config, max(min(at_once[split], tasks[split]) for split in tasks)), at_once)
    teacher = teaching.teacher(config, refs, voice, player, torch_dtype(frozen_dtype, device), device, needs)
    stage = Stage(
        config=config,
        policy=policy,
        player=player,
        teacher=teacher,
        tasks=numpy_generator(config.seed, "tasks"),
        sampling=torch_generator(config.seed, f"sampling {rank}", device),
        score_tokens=scoring_tokens(device),
        rank=rank,
        world=world,
        stand_in=stand_in(config, device, voice.conversation.format.penalty),
    )
    loaded = {"student": policy.model}
    loaded |= {"teacher": teacher.policy.model} if isinstance(teacher, LocalTeacher) else {}
    prints = found.fingerprints(config, refs, loaded)
    prints |= teacher.facts.fingerprints if isinstance(teacher, Shared) else {}
    return Company(stage, voice, before, found.Found(frozen_dtype, prints))


def hold(config: Train) -> Held:
    """The teacher of trials like this one, loaded once for all of them. Raises UserError."""
    return teaching.hold(config, models.ensure(config), accelerator_for(config).device)


def _untrained(company: Company, directory: Path) -> tuple[object, ...] | None:
    """What the evaluation at step 0 depends on, in the trials of one run; None where it is better made anew.

    The class of the environment stands for its code. Adapters are of each trial's own seed.
    """
    stage, source = company.stage, company.voice.source
    if stage.world > 1 or source.lora is not None or not isinstance(stage.player.batch, Batch):
        return None
    sections = {"env", "rollout", "evaluation", "reward", "runtime"}
    told = stage.config.model_dump_json(include=sections)
    env = type(stage.player.batch.envs[0].unwrapped)
    return directory.absolute().parent, env, *key_of(source), told, str(stage.policy.device)


def evaluate_saved(config: Train, source: Pretrained, role: Literal["teacher", "base"] | None = None) -> dict[str, Any]:
    """`eval/*` of a saved model on the config's held-out tasks; if it has a role, `final/*` and `retention/*`, too."""
    accelerator = accelerator_for(config)
    forget()
    dtype = torch_dtype(source.dtype, accelerator.device)
    voice = cast.Voice.load("student", source, config.rollout, dtype, config.runtime.hand_written)
    at_once = memory.at_once(config)
    batch = _batch(config, min(at_once["eval"], _most_tasks(config)))
    policy, player = voice.policy(accelerator.device), voice.player(config, batch, at_once)
    row, _, outcomes = evaluated(policy, player, config.evaluation)
    if role is not None:
        row |= proxy(stand_in(config, accelerator.device), outcomes)
        row |= evaluate_final(policy, player, config.evaluation)
        retention = _retention(config, voice, player, scoring_tokens(accelerator.device), accelerator.device)
        if retention is not None:
            retention.initial = policy if role == "base" else None
            row |= retention.measure(policy)
            retention.close()
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
    accelerator = accelerator_for(config)
    learner = cast.source_of(config.student, models.ensure(config).student)
    at_once = memory.at_once(config)
    batch = _batch(config, min(at_once["eval"], _most_tasks(config)))
    player = cast.Voice.load("student", learner, config.rollout).player(config, batch, at_once)
    itself: Any = teaching.Itself(teaching.remote(served, config, player, accelerator.device, scores=False))
    row = evaluate(itself, itself, config.evaluation) | evaluate_final(itself, itself, config.evaluation)
    batch.close()
    return row


def _retention(config: Train, voice: cast.Voice, player: Player, tokens: int, device: torch.device) -> Retention | None:
    """What the model is asked beside its own tasks; None if nothing is. UserError for what cannot be asked."""
    asked: dict[str, Player | Texts] = {}
    for i, kept in enumerate(config.evaluation.retention):
        where = f"evaluation.retention[{i}]"
        if kept.env is not None:
            elsewhere = config.model_copy(update={"env": kept.env})
            batch = _batch(elsewhere, min(kept.items, player.at_once["eval"]))
            asked[kept.name] = voice.player(config, batch, player.at_once)
        else:
            asked[kept.name] = encoded(kept.read(where), player, device, where)
    items = {kept.name: kept.items for kept in config.evaluation.retention}
    return Retention(asked, items, config.evaluation, tokens) if asked else None


def _most_tasks(config: Train) -> int:
    """The largest number of tasks that one evaluation plays."""
    return max(config.evaluation.tasks, config.evaluation.final.tasks if config.evaluation.final else 0)


def accelerator_for(config: Train) -> Accelerator:
    """Where this process computes, set up as the config wants it. UserError for a device that is not there."""
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
    cast.check_admissible(config, Checked(config.env))
    return open_batch(config.env, size, workers=config.runtime.threads, timeout=config.rollout.step_timeout)
