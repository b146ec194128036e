"""Supervised training on demonstrations: the teacher, and the base student's prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from atod_sweep.config.models import PretrainedRecipe, StudentRecipe, TeacherRecipe
from atod_sweep.config.train import Env, Evaluation
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.contract import TRAIN_SEEDS
from atod_sweep.envs.pool import open_batch
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import evaluate
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.play.talk import Conversation
from atod_sweep.training.pretraining.demonstrations import demonstrate, encode
from atod_sweep.training.randomness import numpy_generator

CHECK_EVERY = 10  # steps between looks at the student's success
CHECK = Evaluation(tasks=512, temperature=0.4)


def cross_entropy(policy: Policy, batch: TokenBatch) -> torch.Tensor:
    """Mean negative log-likelihood of the batch's tokens, in nats."""
    return F.cross_entropy(policy(batch.ids_ST, batch.index_N).logits_NV, batch.target_N)


class Pretraining:
    """Demonstrations of an environment at the recipe's horizons, AdamW steps on them, and the success reached.

    `check`: how success is measured. `part_tokens`: padded tokens per pass; None: a step's episodes all at once.
    """

    def __init__(
        self,
        policy: Policy,
        env: Env,
        recipe: TeacherRecipe,
        conversation: Conversation,
        limits: Limits,
        check: Evaluation = CHECK,
        part_tokens: int | None = None,
    ) -> None:
        self.policy, self.recipe, self.conversation, self.limits = policy, recipe, conversation, limits
        self.check, self.part_tokens = check, part_tokens
        check_can_teach(env, recipe)
        new_words = isinstance(recipe, PretrainedRecipe)
        self.lessons = [_lesson(env, lesson.kwargs, i, new_words) for i, lesson in enumerate(recipe.curriculum)]
        self.players = self._open(env, max(recipe.episodes, check.tasks))
        others = recipe.also if isinstance(recipe, StudentRecipe) else []
        for other in others:
            check_can_teach(other, recipe)
        self.others = [Player(open_batch(one, recipe.episodes, workers=1), conversation, limits) for one in others]
        self.rng = numpy_generator(recipe.seed, "demonstrations")
        self.optimiser = torch.optim.AdamW(policy.parameters(), lr=recipe.lr, betas=(0.9, 0.95), weight_decay=0.01)

    def _open(self, env: Env, size: int) -> list[Player]:
        at = [env.model_copy(update={"horizon": horizon}) for horizon in self.recipe.horizons or [env.horizon]]
        return [Player(open_batch(config, size, workers=1), self.conversation, self.limits) for config in at]

    @contextmanager
    def playing(self, env: Env | None) -> Iterator[None]:
        """Inside, demonstrations are those of another setting of the environment; None: of the other environments."""
        own = self.players, self.others
        self.players, self.others = self.others if env is None else self._open(env, self.recipe.episodes), []
        try:
            yield
        finally:
            if env is not None:
                self.close()
            self.players, self.others = own

    def success(self) -> float:
        """Mean evaluation success over the horizons."""
        found = [evaluate(self.policy, player, self.check)["eval/success"] for player in self.players]
        return float(sum(found) / len(found))

    def close(self) -> None:
        for player in [*self.players, *self.others]:
            player.batch.close()

    def step(self, lr: float) -> float:
        """One step on fresh demonstrations of one horizon, or of another environment; returns the loss."""
        players = [*self.players, *self.others]
        batch = players[int(self.rng.integers(len(players)))].batch
        seeds = self.rng.integers(TRAIN_SEEDS.start, TRAIN_SEEDS.stop, size=self.recipe.episodes).tolist()
        episodes = demonstrate(batch, seeds, "train", self.recipe.perturb, self.rng)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        tokens, _ = encode(episodes, self.conversation, self.policy.device, self.limits.context)
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in tokens.parts(self.part_tokens):
            loss = cross_entropy(self.policy, part) * (part.tokens / tokens.tokens)
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimiser.step()
        return total


def train_teacher(training: Pretraining, note: Callable[[str], None]) -> None:
    """The curriculum, and all steps of the recipe."""
    train_lessons(training, note)
    _train(training, training.recipe.steps, note)


def train_lessons(training: Pretraining, note: Callable[[str], None]) -> None:
    for i, (lesson, env) in enumerate(zip(training.recipe.curriculum, training.lessons, strict=True), 1):
        with training.playing(env):
            _train(training, lesson.steps, note, f"lesson {i}, ")


def _train(training: Pretraining, steps: int, note: Callable[[str], None], lesson: str = "") -> None:
    """Linear warm-up over 5 % of the steps, then cosine to 0."""
    warmup = max(1, steps // 20)
    for step in range(steps):
        decay = (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup))) / 2
        loss = training.step(training.recipe.lr * min(1.0, (step + 1) / warmup) * decay)
        if step % 50 == 0:
            note(f"{lesson}step {step}/{steps}, loss {loss:.3f}")


def train_student(training: Pretraining, note: Callable[[str], None]) -> float:
    """Other environments, the curriculum, then steps until success lies inside the recipe's band.

    Steps that jump over the band are taken back and retried at half the rate. Returns the success reached; raises
    UserError if the curriculum ends above the band or the steps run out.
    """
    recipe = training.recipe
    assert isinstance(recipe, StudentRecipe)
    low, high = recipe.success
    reached = 0.0
    if training.others:
        with training.playing(None):
            _train(training, recipe.steps, note, "other environments, ")
    if recipe.curriculum:
        train_lessons(training, note)
        reached = training.success()
        if low <= reached <= high:
            return reached
        if reached > high:
            raise UserError(
                f"student: success {reached:.3f} after the curriculum is above the band [{low}, {high}]; "
                "take fewer steps in student.recipe.curriculum, or raise student.recipe.success"
            )
    lr, kept = recipe.lr, _snapshot(training)
    for step in range(recipe.steps):
        training.step(lr * min(1.0, (step + 1) / 20))
        if (step + 1) % CHECK_EVERY and step + 1 < recipe.steps:
            continue
        reached = training.success()
        note(f"step {step + 1}, success {reached:.3f}")
        if low <= reached <= high:
            return reached
        if reached > high:
            _restore(training, kept)
            lr /= 2
        else:
            kept = _snapshot(training)
    raise UserError(
        f"student: success {reached:.3f} after {recipe.steps} steps is outside the band [{low}, {high}]; "
        "change student.recipe.steps, lr or success"
    )


def _snapshot(training: Pretraining) -> tuple[dict[str, Any], dict[str, Any]]:
    weights = {name: tensor.detach().clone() for name, tensor in training.policy.state_dict().items()}
    optimiser = training.optimiser.state_dict()
    optimiser["state"] = {
        i: {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in state.items()}
        for i, state in optimiser["state"].items()
    }
    return weights, optimiser


def _restore(training: Pretraining, kept: tuple[dict[str, Any], dict[str, Any]]) -> None:
    training.policy.load_state_dict(kept[0])
    training.optimiser.load_state_dict(kept[1])


def _lesson(env: Env, kwargs: dict[str, Any], index: int, new_words: bool) -> Env:
    """The environment of a lesson. Raises UserError for one that cannot be made or, unless it may have `new_words`,
    that has words of its own."""
    easier = env.model_copy(update={"kwargs": env.kwargs | kwargs})
    where = f"recipe.curriculum[{index}].kwargs"
    try:
        made = Checked(easier)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if not new_words and (new := sorted(set(made.vocabulary()) - set(Checked(env).vocabulary()))):
        raise UserError(f"{where}: {kwargs} brings words that the environment itself does not have, such as {new[0]!r}")
    return easier


def check_can_teach(env: Env, recipe: TeacherRecipe) -> None:
    """Raises UserError if the environment has no demonstrator, or no actions to perturb demonstrations with."""
    game = Checked(env)
    name = type(game.unwrapped).__name__
    if not game.has("demonstrator_action"):
        raise UserError(
            f"{name} has no demonstrator_action(), so no teacher or student can be trained on it; "
            "give both as directories without a recipe (kind: pretrained), or teacher.kind: none"
        )
    if recipe.perturb > 0 and not game.has("actions"):
        raise UserError(f"{name} has no actions() to perturb with; set recipe.perturb: 0")
