"""Teacher and base student of a config: found in the cache, or built once and cached.

The cache key is a hash of everything that made the model, so a changed recipe or environment builds a new one. A model
appears in the cache in one atomic rename: another process finds either nothing or all of it. Every process checks a
model against its manifest before it first uses it, and builds anew what was damaged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from atod_sweep.config.base import content_hash
from atod_sweep.config.models import CompactStudent, CompactTeacher, Pretrained
from atod_sweep.config.train import Env, Train
from atod_sweep.envs import registry as envs
from atod_sweep.envs.checked import Checked
from atod_sweep.errors import UserError
from atod_sweep.paths import local_model
from atod_sweep.training import NUMERICS
from atod_sweep.training.models import compact
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import model_folder, pretrain
from atod_sweep.training.runtime import cache_dir, keep_freed_memory, one_thread


@dataclass(frozen=True)
class ModelRef:
    """Where a model lies and how it came about. `success` (0 to 1) is known for models that were trained here."""

    path: str
    digest: str
    success: float | None
    built: bool
    seconds: float


@dataclass(frozen=True)
class Models:
    """The frozen teacher (if any) and the student that every trial starts from."""

    teacher: ModelRef | None
    student: ModelRef


def ensure(config: Train, note: Callable[[str], None] = lambda _: None) -> Models:
    """Find or build both models. `note` is called with one line of progress now and then. Raises UserError."""
    teacher = None if config.teacher.kind == "none" else _ensure("teacher", config.teacher, config, note)
    return Models(teacher, _ensure("student", config.student, config, note))


def _ensure(
    role: str, model: CompactTeacher | CompactStudent | Pretrained, config: Train, note: Callable[[str], None]
) -> ModelRef:
    if isinstance(model, Pretrained):
        folder = local_model(model.path)
        if folder is not None and not folder.is_dir():
            raise UserError(f"{role}.path: model directory {model.path!r} does not exist; give a directory or a hub id")
        return ModelRef(model.path, content_hash(model.model_dump(mode="json")), None, False, 0.0)
    recipe = model.recipe
    if not recipe.horizons:  # trained for this environment's horizon alone
        recipe = recipe.model_copy(update={"horizons": [config.env.horizon]})
        model = model.model_copy(update={"recipe": recipe})
    env = config.env.model_copy(update={"horizon": max(recipe.horizons)})
    made_of: dict[str, Any] = {
        "model": model.model_dump(mode="json", exclude={"dtype"}),  # it is made in float32
        "env": env.model_dump(mode="json"),
        "action_tokens": config.rollout.max_action_tokens,  # bears on the success at which pretraining stops
        "numerics": NUMERICS,
    }
    if source := envs.source(env.id):  # a user's environment may change under its name
        made_of["source"] = source
    digest = content_hash(made_of)
    path = cache_dir() / "models" / f"{role}-{digest}"
    with model_folder.locked(path):
        if path.is_dir() and (problem := model_folder.problem(path)):
            note(f"{role}: {path} is damaged ({problem}); it is built again")
            model_folder.discard(path)
        built = not path.is_dir()
        if built:
            with one_thread():  # rounding depends on their number, and a cached model must not
                made = _build(role, model, env, config, note)
            model_folder.keep(path, *made)
        meta = model_folder.recipe(path)
    return ModelRef(str(path), digest, meta["success"], built, meta["seconds"] if built else 0.0)


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
