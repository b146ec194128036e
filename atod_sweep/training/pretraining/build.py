"""Models that are made here: compact ones from nothing, pretrained ones taught on; on demonstrations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from atod_sweep.config.models import CompactStudent, CompactTeacher, Pretrained
from atod_sweep.config.train import Env, Evaluation, Train
from atod_sweep.envs.checked import Checked
from atod_sweep.errors import UserError
from atod_sweep.training.loop.cast import Voice
from atod_sweep.training.models import compact, limits
from atod_sweep.training.models.policy import Policy, checkpoint_activations
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import model_folder, pretrain
from atod_sweep.training.pretraining.cache import also_of
from atod_sweep.training.runtime import keep_freed_memory, one_thread, torch_dtype

SHORT_CHECK = Evaluation(tasks=64, temperature=0.4)  # of models for which an episode is dear


def build(
    role: str, model: CompactTeacher | CompactStudent | Pretrained, env: Env, config: Train, note: Callable[[str], None]
) -> tuple[Any, Any, dict[str, Any]]:
    """The model, its tokenizer, and how it was made. Raises UserError."""
    started = time.perf_counter()
    keep_freed_memory()

    def say(line: str) -> None:
        note(f"{role}: {line}")

    if isinstance(model, Pretrained):
        made, tokenizer, reached = _taught(role, model, env, config, say)
    else:
        with one_thread():  # rounding depends on their number, and a cached model must not
            made, tokenizer, reached = _from_scratch(role, model, env, config, say)
    return made, tokenizer, model_folder.about(role, reached, started, model, env)


def _from_scratch(
    role: str, model: CompactTeacher | CompactStudent, env: Env, config: Train, say: Callable[[str], None]
) -> tuple[Any, Any, float]:
    sample = Checked(env)
    if not sample.has("vocabulary"):
        raise UserError(
            f"{role}.kind: a compact {role} needs the words of the environment, and {env.id!r} has no vocabulary(); "
            "add that method, or use kind: pretrained"
        )
    also = [Checked(other) for other in also_of(config)]
    if not all(other.has("vocabulary") for other in also):
        raise UserError("student.recipe.also: each needs a vocabulary(), by which a compact model gets its words")
    tokenizer = compact.make_tokenizer([word for game in (sample, *also) for word in game.vocabulary()])
    conversation = conversation_for(tokenizer, chat_template=True, stop_strings=[])
    policy = Policy(compact.make_model(model, tokenizer, model.recipe.seed))
    limits = Limits(config.rollout.max_action_tokens, compact.MAX_POSITIONS)
    training = pretrain.Pretraining(policy, env, model.recipe, conversation, limits)
    if isinstance(model, CompactStudent):
        reached = pretrain.train_student(training, say)
    else:
        pretrain.train_teacher(training, say)
        reached = training.success()
    training.close()
    return policy.model, tokenizer, reached


def _taught(
    role: str, model: Pretrained, env: Env, config: Train, say: Callable[[str], None]
) -> tuple[Any, Any, float]:
    """A pretrained model after its recipe, whole, its tokenizer and its success.

    All its weights are trained in float32; adapters on weights as they are. Rounded last.
    """
    recipe = model.recipe
    assert recipe is not None
    pretrain.check_can_teach(env, recipe)  # before anything is loaded
    device = torch.device("cpu" if config.runtime.device == "cpu" or not torch.cuda.is_available() else "cuda")
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)  # adapters begin at random
        voice = Voice.load(role, model, config.rollout, None if model.lora else torch.float32)
    if config.runtime.gradient_checkpointing:
        checkpoint_activations(voice.model)
    policy = voice.policy(device).train()
    room = limits.positions(voice.model)
    bounds = Limits(config.rollout.max_action_tokens, min(room, config.rollout.max_context_tokens or room))
    parts = config.update.micro_batch_tokens
    training = pretrain.Pretraining(policy, env, recipe, voice.conversation, bounds, SHORT_CHECK, parts)
    pretrain.train_teacher(training, say)
    reached = training.success()
    training.close()
    say(f"success {reached:.3f} on {SHORT_CHECK.tasks} held-out tasks")
    whole = policy.model.float()
    if hasattr(whole, "merge_and_unload"):
        whole = whole.merge_and_unload()
    return whole.to(torch_dtype(model.dtype, device)), voice.tokenizer, reached
