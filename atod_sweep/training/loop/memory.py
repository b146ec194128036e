"""What a trial with pretrained models will need of a device's memory, before anything is loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from atod_sweep.config.models import NoTeacher, Pretrained
from atod_sweep.config.objective import Mixture
from atod_sweep.config.teachers import Served
from atod_sweep.config.train import Train
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.contract import TRAIN_SEEDS, HasActions, HasDemonstrator
from atod_sweep.errors import UserError
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.loop import cast
from atod_sweep.training.models import adapters, head
from atod_sweep.training.models.anatomy import Anatomy, anatomy
from atod_sweep.training.models.load import load_tokenizer
from atod_sweep.training.play.context import Context
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.runtime import torch_dtype

UNBOUNDED = 10**9
COPIES = 8  # of an [N, V] tensor that a loss and its gradient hold


@dataclass(frozen=True)
class Need:
    """Bytes by what needs them at the same time, and the keys that make each less."""

    parts: dict[str, int]
    keys: dict[str, str]

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_gb(size)}" for name, size in self.parts.items() if size >= self.total / 100)
        return f"{_gb(self.total)} GB a trial ({parts})"


def need(config: Train) -> Need | None:
    """The most that a trial needs at a time; None where it is small, or where a model's code does not tell.

    Raises UserError for a model or an environment that is not there.
    """
    if not isinstance(config.student, Pretrained):
        return None
    device = torch.device("cuda" if config.runtime.device != "cpu" and torch.cuda.is_available() else "cpu")
    student = anatomy(config.student, torch_dtype(config.student.dtype, device), config.runtime.gradient_checkpointing)
    if student is None:
        return None
    standing = _standing(config, student, device)
    if standing is None:
        return None
    episode = longest_episode(config, config.student)
    most = max(_phases(config, student, episode, device), key=lambda parts: sum(parts.values()))
    return Need(
        standing | most,
        {
            "student": "student.dtype: bfloat16",
            "optimiser": "student.lora",
            "teacher": "teacher.dtype: bfloat16",
            "reference": "student.lora, whose reference is the student itself, or kl_penalty.kind: none",
            "rollout cache": "rollout.tasks or rollout.group_size",
            "evaluation cache": "evaluation.tasks",
            "activations": "update.micro_batch_tokens or runtime.gradient_checkpointing",
            "logits": "rollout.tasks",
            "gradients": "student.lora",
        },
    )


def check(config: Train, limit: int) -> Need | None:
    """`need`; UserError if it is more than `limit` bytes, with what to change."""
    found = need(config)
    if found is None or found.total <= limit:
        return found
    largest = max(found.parts, key=lambda name: found.parts[name])
    raise UserError(
        f"a trial needs about {found}, but there are {_gb(limit)} GB; most is the {largest}: lower it by "
        f"{found.keys[largest]}, or train it elsewhere from an export (atod-sweep export --target trl)"
    )


def there_is(device: str, fraction: float | None) -> int:
    """Bytes of memory of the device that trials run on."""
    if device != "cpu" and torch.cuda.is_available():
        index = int(device.partition(":")[2] or 0)
        return int(torch.cuda.get_device_properties(index).total_memory * (fraction or 1.0))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def longest_episode(config: Train, source: Pretrained) -> int:
    """Tokens of a conversation over the whole horizon whose actions are as long as they may be."""
    tokenizer = load_tokenizer(source)
    talk = conversation_for(tokenizer, source.chat_template, config.rollout.stop, cast.manner(source, config.rollout))
    most = config.rollout.max_context_tokens or UNBOUNDED
    context = Context(talk, most)
    answer = talk.answer_tokens(config.rollout.max_action_tokens)
    room, longest = answer + len(talk.end_ids), 0
    game = Checked(config.env)
    try:
        observation = game.reset(TRAIN_SEEDS.start, "train")
        for turn in range(config.env.horizon):
            commands = game.actions() if talk.format.lists else None
            context.ask(talk.format.shown(observation, commands, is_first=turn == 0), room)
            longest = max(longest, len(context.ids) + room)
            action = _action(game)
            ids = (tokenizer.encode(action, add_special_tokens=False) or [0]) * answer
            context.answer([*ids[:answer], *talk.end_ids])
            step = game.step(action)
            observation = step.observation
            if step.terminated or step.truncated:
                break
    finally:
        game.close()
    if context.dropped:
        return most
    return min(most, longest * config.env.horizon // len(context.past))  # others may not end so early


def _action(game: Checked) -> str:
    """What goes on longest without ending the episode badly: what the demonstrator or the rules offer."""
    family: Any = game.unwrapped
    if isinstance(family, HasDemonstrator):
        return game.demonstrator_action()
    return game.actions()[0] if isinstance(family, HasActions) else "x"


def _standing(config: Train, student: Anatomy, device: torch.device) -> dict[str, int] | None:
    """What is there from the first step to the last."""
    masters = 4 * student.trained if student.width < 4 else 0
    parts = {"student": student.weights, "optimiser": 8 * student.trained + masters}
    if not isinstance(config.teacher, NoTeacher | Served):
        if not isinstance(config.teacher, Pretrained):
            return None
        teacher = anatomy(config.teacher, torch_dtype(config.frozen_dtype, device))
        if teacher is None:
            return None
        parts["teacher"] = teacher.weights
    reference = ALGORITHMS[config.objective.kind].needs(config).reference
    if reference == "renewed" or (reference == "frozen" and not adapters.are_fresh(config.student)):
        width = 4 if reference == "renewed" else torch_dtype(config.frozen_dtype, device).itemsize
        parts["reference"] = student.weights // student.width * width
    return parts


def _phases(config: Train, student: Anatomy, episode: int, device: torch.device) -> list[dict[str, int]]:
    """What rollouts, evaluations and updates need beside it, of which one goes on at a time."""
    episodes = config.rollout.tasks * config.rollout.group_size
    final = config.evaluation.final.tasks if config.evaluation.final else 0
    cache = int(student.cached_per_token * episode * 1.25)
    together = min(episodes * episode, config.update.micro_batch_tokens or UNBOUNDED)
    said = min(together, episodes * config.env.horizon * config.rollout.max_action_tokens)
    portion = min(said * student.vocabulary, head.elements_at_once(device))
    copies = COPIES if isinstance(config.objective, Mixture) else COPIES // 2
    update = {
        "activations": int(student.kept_per_token * together),
        "logits": 4 * copies * portion,
        "gradients": student.width * student.trained,
    }
    return [
        {"rollout cache": episodes * cache},
        {"evaluation cache": max(config.evaluation.tasks, final) * cache},
        update,
        {"gradients": (student.width + 5) * student.trained},  # with what lost updates are counted by
    ]


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}"
