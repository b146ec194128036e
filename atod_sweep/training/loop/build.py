"""A trial from its config: models, environments, algorithm and optimiser, put together."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any, assert_never

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from atod_sweep.config.train import Pretrained, Train
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.pool import Pool, open_batch
from atod_sweep.errors import UserError
from atod_sweep.objective import own_code
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.algorithms.scoring import SCORING_TOKENS
from atod_sweep.training.algorithms.stage import Needs, Stage
from atod_sweep.training.loop.trial import Run
from atod_sweep.training.loop.update import Updater
from atod_sweep.training.models.policy import Policy, checkpoint_activations, load_model, load_tokenizer
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import evaluate, evaluate_final
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import cache as models
from atod_sweep.training.randomness import numpy_generator, torch_generator
from atod_sweep.training.runtime import frozen_dtype, keep_freed_memory, use_threads


def assemble(config: Train, directory: Path, resume: bool, mutable: bool = False) -> Run:
    """A trial; with `resume`, at its newest whole checkpoint (or at step 0 if there is none).

    `mutable`: that checkpoint may come from other schedules and rates.
    """
    own_code.check(config)
    accelerator = _accelerator(config)
    _check_tasks(config, accelerator.num_processes)
    refs = models.ensure(config)
    source = config.student if isinstance(config.student, Pretrained) else Pretrained(path=refs.student.path)
    tokenizer = load_tokenizer(source.path, source.gguf_file)
    algorithm_of = ALGORITHMS[config.objective.kind]
    needs = algorithm_of.needs(config)
    policy = _student(config, source, needs).to(accelerator.device).train()
    dtype = frozen_dtype(config.runtime.teacher_dtype, accelerator.device)
    episodes = max(config.rollout.tasks * config.rollout.group_size, _most_tasks(config))
    player = _player(config, tokenizer, source, policy.model, _batch(config, episodes))
    teacher, teacher_player = _teacher(config, refs, tokenizer, player, dtype, accelerator.device, needs)
    algorithm = algorithm_of(config, teacher, _reference(needs, policy, dtype))
    rank = accelerator.process_index
    stage = Stage(
        config=config,
        policy=policy,
        player=player,
        teacher=teacher,
        teacher_player=teacher_player,
        tasks=numpy_generator(config.seed, "tasks"),
        sampling=torch_generator(config.seed, f"sampling {rank}", accelerator.device),
        score_tokens=SCORING_TOKENS if accelerator.device.type == "cpu" else 16 * SCORING_TOKENS,
        rank=rank,
        world=accelerator.num_processes,
    )
    wrapped, optimiser = accelerator.prepare(policy, _optimiser(config, policy))
    updater = Updater(accelerator, wrapped, optimiser, config, numpy_generator(config.seed, f"minibatches {rank}"))
    run = Run(config, directory, accelerator, stage, player, algorithm, updater, tokenizer, mutable)
    if resume:
        run.restore()
    elif accelerator.is_main_process:  # or a later resume would take up what an earlier run left here
        shutil.rmtree(directory / "checkpoint", ignore_errors=True)
    return run


def evaluate_saved(config: Train, source: Pretrained, final: bool) -> dict[str, Any]:
    """`eval/*` of a saved model on the config's held-out tasks; with `final`, `final/*` on its final sets as well."""
    accelerator = _accelerator(config)
    model = load_model(source)
    batch = _batch(config, _most_tasks(config))
    player = _player(config, load_tokenizer(source.path, source.gguf_file), source, model, batch)
    policy = Policy(model).to(accelerator.device)
    found = evaluate(policy, player, config.evaluation)
    if final:
        found |= evaluate_final(policy, player, config.evaluation)
    batch.close()
    return found


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
    return open_batch(config.env, size, workers=config.runtime.threads, timeout=config.rollout.step_timeout)


def _player(config: Train, tokenizer: Any, source: Pretrained, model: Any, batch: Batch | Pool) -> Player:
    room = getattr(model.config, "max_position_embeddings", None) or 2048
    context = min(room, config.rollout.max_context_tokens or room)
    conversation = conversation_for(tokenizer, source.chat_template, config.rollout.stop)
    limits = Limits(config.rollout.max_action_tokens, context)
    return Player(batch, conversation, limits, config.runtime.cuda_graphs)


def _student(config: Train, source: Pretrained, needs: Needs) -> Policy:
    set_seed(config.seed)  # only LoRA's initialisation draws from the global generators
    model = load_model(source)
    if config.runtime.gradient_checkpointing:
        checkpoint_activations(model)
    return Policy(model, value_head=needs.value_head)


def _teacher(
    config: Train,
    refs: models.Models,
    tokenizer: Any,
    player: Player,
    dtype: torch.dtype,
    device: torch.device,
    needs: Needs,
) -> tuple[Policy | None, Player | None]:
    """The frozen teacher and, for objectives that let it play, its player. Raises UserError on other vocabularies."""
    if refs.teacher is None:
        return None, None
    source = config.teacher if isinstance(config.teacher, Pretrained) else Pretrained(path=refs.teacher.path)
    teacher_tokenizer = load_tokenizer(source.path, source.gguf_file)
    same_vocabulary = teacher_tokenizer.get_vocab() == tokenizer.get_vocab()
    if not same_vocabulary and needs.shared_vocabulary:
        raise UserError(
            f"teacher.path: {source.path!r} has another vocabulary ({len(teacher_tokenizer)} tokens, the student "
            f"{len(tokenizer)}), so their token probabilities cannot be compared; use a teacher of the same family, or "
            "objective.kind: sft, which learns from the teacher's text"
        )
    model = load_model(source, dtype).to(device)
    teacher = Policy(model).frozen()
    if same_vocabulary:
        return teacher, player
    return teacher, _player(config, teacher_tokenizer, source, model, player.batch)


def _reference(needs: Needs, policy: Policy, dtype: torch.dtype) -> Policy | None:
    """The initial student, for the objectives that compare with it."""
    match needs.reference:
        case "none":
            return None
        case "frozen":
            return _frozen(policy, dtype)
        case "renewed":  # it also plays and is renewed from the student, so it stays in its precision
            return _frozen(policy, torch.float32)
        case _:
            assert_never(needs.reference)


def _frozen(policy: Policy, dtype: torch.dtype) -> Policy:
    """A copy of the student as it is now, that never learns.

    Only weights change their precision: a rotary embedding's frequencies, which are a buffer, would be wrong in bf16.
    """
    frozen = copy.deepcopy(policy)
    for parameter in frozen.parameters():
        parameter.data = parameter.data.to(dtype)
    return frozen.frozen()


def _optimiser(config: Train, policy: Policy) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [p for p in policy.parameters() if p.requires_grad],
        lr=config.optimiser.lr,
        betas=config.optimiser.betas,
        weight_decay=config.optimiser.weight_decay,
        fused=True,
    )
