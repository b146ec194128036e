"""A compact model made from nothing: pretrained on demonstrations of its environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from atod_sweep.config.models import CompactStudent, CompactTeacher
from atod_sweep.config.train import Env, Train
from atod_sweep.envs.checked import Checked
from atod_sweep.errors import UserError
from atod_sweep.training import NUMERICS
from atod_sweep.training.models import compact
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import pretrain
from atod_sweep.training.runtime import keep_freed_memory, one_thread


def build(
    role: str, model: CompactTeacher | CompactStudent, env: Env, config: Train, note: Callable[[str], None]
) -> tuple[Any, Any, dict[str, Any]]:
    """The model, its tokenizer, and how it was made. Raises UserError."""
    with one_thread():  # rounding depends on their number, and a cached model must not
        return _build(role, model, env, config, note)


def _build(
    role: str, model: CompactTeacher | CompactStudent, env: Env, config: Train, note: Callable[[str], None]
) -> tuple[Any, Any, dict[str, Any]]:
    """The model, its tokenizer, and how it was made."""
    started = time.perf_counter()
    keep_freed_memory()
    sample = Checked(env)
    if not hasattr(sample.unwrapped, "vocabulary"):
        raise UserError(
            f"{role}.kind: a compact {role} needs the words of the environment, and {env.id!r} has no vocabulary(); "
            "add that method, or use kind: pretrained"
        )
    tokenizer = compact.make_tokenizer(sample.vocabulary())
    conversation = conversation_for(tokenizer, chat_template=True, stop_strings=[])
    policy = Policy(compact.make_model(model, tokenizer, model.recipe.seed))
    limits = Limits(config.rollout.max_action_tokens, compact.MAX_POSITIONS)
    training = pretrain.Pretraining(policy, env, model.recipe, conversation, limits)

    def say(line: str) -> None:
        note(f"{role}: {line}")

    if isinstance(model, CompactStudent):
        reached = pretrain.train_student(training, say)
    else:
        pretrain.train_teacher(training, say)
        reached = training.success()
    training.close()
    meta = {
        "role": role,
        "success": reached,
        "seconds": time.perf_counter() - started,
        "model": model.model_dump(mode="json"),
        "env": env.model_dump(mode="json"),
        "numerics": NUMERICS,
        "torch": torch.__version__,
    }
    return policy.model, tokenizer, meta
