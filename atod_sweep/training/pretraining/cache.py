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
from atod_sweep.config.train import Env, Evaluation, Train
from atod_sweep.envs import registry as envs
from atod_sweep.envs.checked import Checked
from atod_sweep.errors import UserError
from atod_sweep.paths import local_model
from atod_sweep.training import NUMERICS
from atod_sweep.training.loop.cast import Voice
from atod_sweep.training.models import compact, limits
from atod_sweep.training.models.load import origin
from atod_sweep.training.models.policy import Policy, checkpoint_activations
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import model_folder, pretrain
from atod_sweep.training.runtime import cache_dir, keep_freed_memory, one_thread, torch_dtype

SHORT_CHECK = Evaluation(tasks=64, temperature=0.4)  # of models for which an episode is dear


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
    recipe = model.recipe
    if recipe is None:
        assert isinstance(model, Pretrained)
        return ModelRef(model.path, content_hash(model.model_dump(mode="json")), None, False, 0.0)
    if not recipe.horizons:  # trained for this environment's horizon alone
        recipe = recipe.model_copy(update={"horizons": [config.env.horizon]})
        model = model.model_copy(update={"recipe": recipe})
    env = config.env.model_copy(update={"horizon": max(recipe.horizons)})
    made_of = _made_of(model, env) | {"action_tokens": config.rollout.max_action_tokens}  # bears on success
    digest = content_hash(made_of)
    path = cache_dir() / "models" / f"{role}-{digest}"

    def say(line: str) -> None:
        note(f"{role}: {line}")

    with model_folder.locked(path):
        if path.is_dir() and (problem := model_folder.problem(path)):
            say(f"{path} is damaged ({problem}); it is built again")
            model_folder.discard(path)
        built = not path.is_dir()
        if built:
            model_folder.keep(path, *_build(role, model, env, config, say))
        meta = model_folder.recipe(path)
    return ModelRef(str(path), digest, meta["success"], built, meta["seconds"] if built else 0.0)


def _made_of(model: CompactTeacher | CompactStudent | Pretrained, env: Env) -> dict[str, Any]:
    """Everything that makes the model what it is."""
    made_of: dict[str, Any] = {
        # Of pretrained ones, what lies at the path counts, wherever that is; compact ones are made in float32.
        "model": model.model_dump(mode="json", exclude={"path"} if isinstance(model, Pretrained) else {"dtype"}),
        "env": env.model_dump(mode="json"),
        "numerics": NUMERICS,
    }
    if isinstance(model, Pretrained):
        made_of["base"] = origin(model)
    if source := envs.source(env.id):  # a user's environment may change under its name
        made_of["source"] = source
    return made_of


def _build(
    role: str,
    model: CompactTeacher | CompactStudent | Pretrained,
    env: Env,
    config: Train,
    say: Callable[[str], None],
) -> tuple[Any, Any, dict[str, Any]]:
    """The model, its tokenizer, and how it was made."""
    started = time.perf_counter()
    keep_freed_memory()
    if isinstance(model, Pretrained):
        made, tokenizer, reached = _taught(role, model, env, config, say)
    else:
        with one_thread():  # rounding depends on their number, and a cached model must not
            made, tokenizer, reached = _from_scratch(role, model, env, config, say)
    meta = {
        "role": role,
        "success": reached,
        "seconds": time.perf_counter() - started,
        "model": model.model_dump(mode="json"),
        "env": env.model_dump(mode="json"),
        "numerics": NUMERICS,
        "torch": torch.__version__,
    }
    return made, tokenizer, meta


def _from_scratch(
    role: str, model: CompactTeacher | CompactStudent, env: Env, config: Train, say: Callable[[str], None]
) -> tuple[Any, Any, float]:
    """A compact model, its tokenizer and its success."""
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
        voice = Voice.load(role, model, config.rollout.stop, None if model.lora else torch.float32)
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
