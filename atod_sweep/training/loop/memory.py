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
from atod_sweep.envs.contract import TRAIN_SEEDS, HasActions, HasDemonstrator, Split
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
    fitting: int  # episodes that there is room for
    at_once: dict[Split, tuple[int, int]]  # episodes played at a time, of how many

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_gb(size)}" for name, size in self.parts.items() if size >= self.total / 100)
        played = {"train": "training", "eval": "evaluation"}
        few = [f"{n} of {of} {played[split]} episodes" for split, (n, of) in self.at_once.items() if n < of]
        return f"{_gb(self.total)} GB a trial ({parts})" + (f", {' and '.join(few)} played at once" if few else "")


def at_once(config: Train) -> dict[Split, int]:
    """How many episodes are played at a time, at most: as many as the config says, or else as memory has room for."""
    given = all(part.episodes_at_once is not None for part in (config.rollout, config.evaluation))
    found = None if given else need(config, there_is(config.runtime.device, config.runtime.gpu_memory_fraction))
    return _limits(config, found.fitting if found else UNBOUNDED)


def need(config: Train, limit: int | None = None) -> Need | None:
    """The most that a trial needs at a time; None where it is small, or where a model's code does not tell.

    With a `limit` in bytes, only so many episodes are played at a time as fit in. Raises UserError for a model or an
    environment that is not there.
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
    cache = int(student.cached_per_token * episode * 1.25)
    fitting = UNBOUNDED if limit is None else (limit - sum(standing.values())) // cache
    together = _at_once(config, fitting)
    caches = {split: n * cache for split, (n, _) in together.items()}
    most = max(_phases(config, student, episode, device, caches), key=lambda parts: sum(parts.values()))
    return Need(
        standing | most,
        {
            "student": "student.dtype: bfloat16",
            "optimiser": "student.lora",
            "teacher": "teacher.dtype: bfloat16",
            "reference": "student.lora, whose reference is the student itself, or kl_penalty.kind: none",
            "rollout cache": "rollout.episodes_at_once",
            "evaluation cache": "evaluation.episodes_at_once",
            "activations": "update.micro_batch_tokens or runtime.gradient_checkpointing",
            "logits": "rollout.tasks",
            "gradients": "student.lora",
        },
        fitting,
        together,
    )


def check(config: Train, limit: int) -> Need | None:
    """`need`; UserError if it is more than `limit` bytes, with what to change."""
    found = need(config, limit)
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
    cast.check_admissible(config, game)
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


def _at_once(config: Train, fitting: int) -> dict[Split, tuple[int, int]]:
    """How many episodes are played at a time where so many fit, of how many."""
    rollout, evaluation = config.rollout, config.evaluation
    final = evaluation.final.tasks if evaluation.final else 0
    counts: dict[Split, int] = {"train": rollout.tasks * rollout.group_size, "eval": max(evaluation.tasks, final)}
    return {split: (min(counts[split], most), counts[split]) for split, most in _limits(config, fitting).items()}


def _limits(config: Train, fitting: int) -> dict[Split, int]:
    fitting = max(1, fitting)
    rollout, evaluation = config.rollout.episodes_at_once, config.evaluation.episodes_at_once
    return {"train": rollout or fitting, "eval": evaluation or fitting}


def _phases(
    config: Train, student: Anatomy, episode: int, device: torch.device, caches: dict[Split, int]
) -> list[dict[str, int]]:
    """What rollouts, evaluations and updates need beside it, of which one goes on at a time."""
    episodes = config.rollout.tasks * config.rollout.group_size
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
        {"rollout cache": caches["train"]},
        {"evaluation cache": caches["eval"]},
        update,
        {"gradients": (student.width + 5) * student.trained},  # with what lost updates are counted by
    ]


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}"
