"""GRPOConfig from a trial's config. Imports TRL."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from atod_sweep.config.train import Train
from atod_sweep.config.trainer import Trl
from atod_sweep.errors import UserError, meant
from atod_sweep.records import layout
from atod_sweep.training.loop.checkpoint import KEEP
from atod_sweep.trl import shim


def settings(config: Train, directory: Path, answer_tokens: int, stop_ids: list[int]) -> GRPOConfig:
    """The config's arguments, and with them those that the user has given. UserError for what TRL does not take.

    `answer_tokens`: the longest answer in one turn; `stop_ids` end one.
    """
    assert isinstance(config.trainer, Trl)
    given = config.trainer.args
    known = [field.name for field in fields(GRPOConfig) if field.init]
    if unknown := [name for name in given if name not in known]:
        hint = meant(unknown[0], known, "see `trl.GRPOConfig`")
        raise UserError(f"trainer.args: TRL's GRPOConfig has no {unknown[0]!r}; {hint}")
    optimiser, runtime, on_cpu = config.optimiser, config.runtime, config.runtime.device == "cpu"
    ours = {
        **shim.arguments(config),
        **_batch(config, given),
        "output_dir": str(directory / layout.CHECKPOINT),
        "seed": config.seed,
        "shuffle_dataset": False,
        "learning_rate": optimiser.lr,
        "lr_scheduler_type": "constant",  # the trainer's own follows `optimiser`
        "weight_decay": optimiser.weight_decay,
        "adam_beta1": optimiser.betas[0],
        "adam_beta2": optimiser.betas[1],
        "max_grad_norm": optimiser.max_grad_norm,
        "bf16": runtime.precision == "bf16",
        "gradient_checkpointing": runtime.gradient_checkpointing,
        "use_cpu": on_cpu,
        "disable_dropout": True,
        "max_completion_length": answer_tokens,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "generation_kwargs": {"stop_token_ids" if given.get("use_vllm") else "eos_token_id": stop_ids},
        "logging_steps": 1,
        "save_strategy": "no",  # the recorder asks for them
        "save_total_limit": KEEP,
        "report_to": "none",
        "disable_tqdm": True,
    }
    quiet = {"dataloader_pin_memory": not on_cpu and torch.cuda.is_available()}
    try:
        found = GRPOConfig(**{**quiet, **given, **ours})
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(f"trainer.args: TRL does not take {given}: {' '.join(str(error).split())}") from None
    together = found.use_vllm and (found.vllm_mode == "server" or found.vllm_tensor_parallel_size > 1)
    if (
        together and found.world_size > 1
    ):  # they would wait for one another in every turn, of which not all have as many
        raise UserError(
            f"trainer.args: {found.world_size} processes cannot share one vLLM, since their episodes end at different "
            "turns; use vllm_mode: colocate with vllm_tensor_parallel_size: 1, or one process"
        )
    return found


def _batch(config: Train, given: dict[str, Any]) -> dict[str, int]:
    """One optimiser step per batch of episodes, which passes of so many sequences make up."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    episodes = config.rollout.tasks * config.rollout.group_size
    at_once = given.get("per_device_train_batch_size", max(1, episodes // processes))
    if episodes % (at_once * processes):
        raise UserError(
            f"trainer.args.per_device_train_batch_size: {at_once} episodes on {processes} processes do not divide the "
            f"{episodes} episodes of a step (rollout.tasks x rollout.group_size); set it to a divisor"
        )
    passes = episodes // (at_once * processes)
    return {
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": passes,
        "steps_per_generation": passes,
    }
