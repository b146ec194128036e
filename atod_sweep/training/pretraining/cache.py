"""Teacher and base student of a config: found in the cache, or built once and cached.

The cache key is a hash of everything that made the model, so a changed recipe or environment builds a new one. A model
appears in the cache in one atomic rename: another process finds either nothing or all of it. Every process checks a
model against its manifest before it first uses it, and builds anew what was damaged. Whoever finds all models here
needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash
from atod_sweep.config.models import CompactStudent, CompactTeacher, NoTeacher, Pretrained
from atod_sweep.config.teachers import Served
from atod_sweep.config.train import Env, Train
from atod_sweep.envs import registry as envs
from atod_sweep.paths import cache_dir, existing_model
from atod_sweep.training import NUMERICS
from atod_sweep.training.pretraining import model_folder

# Of a rollout's keys, what demonstrations know not of.
PLAYED = {"tasks", "group_size", "temperature", "takeover", "depth", "teacher_turns", "step_timeout"}


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


@dataclass(frozen=True)
class Recipe:
    """A model that is made here: where it lies, or will, and what it is made of."""

    path: Path
    digest: str
    model: CompactTeacher | CompactStudent | Pretrained
    env: Env


def recipes(config: Train) -> dict[str, Recipe]:
    """Those of the models `teacher` and `student` that are made here, and not given."""
    models = {"teacher": config.teacher, "student": config.student}
    return {
        role: _recipe(role, model, config)
        for role, model in models.items()
        if not isinstance(model, NoTeacher | Served) and model.recipe is not None
    }


def ensure(config: Train, note: Callable[[str], None] = lambda _: None) -> Models:
    """Find or build both models. `note` is called with one line of progress now and then. Raises UserError."""
    return _models(config, lambda role, recipe: ensure_made(role, recipe, config, note))


def also_of(config: Train) -> list[Env]:
    """Environments that a compact student learns beside its own."""
    return config.student.recipe.also if isinstance(config.student, CompactStudent) else []


def expected(config: Train) -> Models:
    """What `ensure` will return, as far as it is known before models are built. Raises UserError."""
    return _models(config, lambda _, recipe: ModelRef(str(recipe.path), recipe.digest, None, False, 0.0))


def _models(config: Train, made: Callable[[str, Recipe], ModelRef]) -> Models:
    known = recipes(config)

    def one(role: str, model: CompactTeacher | CompactStudent | Pretrained) -> ModelRef:
        if role in known:
            return made(role, known[role])
        assert isinstance(model, Pretrained)
        existing_model(model.path, f"{role}.path: ")
        return ModelRef(model.path, content_hash(model.model_dump(mode="json")), None, False, 0.0)

    teacher = None if isinstance(config.teacher, NoTeacher | Served) else one("teacher", config.teacher)
    return Models(teacher, one("student", config.student))


def ensure_made(role: str, recipe: Recipe, config: Train, note: Callable[[str], None]) -> ModelRef:
    """Find or build one model. Raises UserError."""

    def make() -> tuple[Any, Any, dict[str, Any]]:
        from atod_sweep.training.pretraining.build import build  # brings torch

        return build(role, recipe.model, recipe.env, config, note)

    built = model_folder.ensure(recipe.path, make, lambda line: note(f"{role}: {line}"))
    meta = model_folder.recipe(recipe.path)
    return ModelRef(str(recipe.path), recipe.digest, meta["success"], built, meta["seconds"] if built else 0.0)


def _recipe(role: str, model: CompactTeacher | CompactStudent | Pretrained, config: Train) -> Recipe:
    recipe = model.recipe
    assert recipe is not None
    if not recipe.horizons:  # trained for this environment's horizon alone
        recipe = recipe.model_copy(update={"horizons": [config.env.horizon]})
        model = model.model_copy(update={"recipe": recipe})
    env = config.env.model_copy(update={"horizon": max(recipe.horizons)})
    made_of: dict[str, Any] = {
        "model": model.model_dump(mode="json"),
        "env": env.model_dump(mode="json"),
        "action_tokens": config.rollout.max_action_tokens,  # bears on the success at which pretraining stops
        "numerics": NUMERICS,
    }
    if isinstance(model, Pretrained):  # what lies at its path counts, wherever that is
        from atod_sweep.training.models.load import origin  # brings torch

        existing_model(model.path, f"{role}.path: ")
        del made_of["model"]["path"]
        made_of["base"] = origin(model)
        # How it is talked to, too: what is remembered of a conversation, and how an action is spelled.
        made_of["rollout"] = config.rollout.model_dump(mode="json", exclude=PLAYED)
    if source := envs.source(env.id):  # a user's environment may change under its name
        made_of["source"] = source
    if not isinstance(model, Pretrained) and (also := also_of(config)):  # whose words the teacher knows, too
        made_of["also"] = [[other.model_dump(mode="json"), envs.source(other.id)] for other in also]
    digest = content_hash(made_of)
    return Recipe(cache_dir() / "models" / f"{role}-{digest}", digest, model, env)
