"""What a trial with pretrained models will need of a device's memory, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from atod_sweep.config.models import CompactTeacher, Pretrained
from atod_sweep.config.train import Train
from atod_sweep.cores import in_words, memory_bytes
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.contract import TRAIN_SEEDS, Split
from atod_sweep.errors import UserError
from atod_sweep.training import share
from atod_sweep.training.loop import cast
from atod_sweep.training.loop.phases import UNBOUNDED, Parts, Phases, Talk, standing
from atod_sweep.training.models import kept
from atod_sweep.training.models.anatomy import Anatomy, anatomy
from atod_sweep.training.models.load import load_config
from atod_sweep.training.play.context import Context
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.pretraining.cache import Models
from atod_sweep.training.runtime import torch_dtype

# Of a CPU process: code that is read from disk when it first runs, what tokenizers and environments remember. Measured
# with a student of 0.1 M parameters.
LIBRARIES = 45_000_000
# What the C library's allocator takes per byte of what comes and goes: it keeps freed blocks (`runtime`), and a gap
# between blocks in use takes no larger one. Layers of `transformers` make many small tensors between those that they
# keep, hand-written passes few. Measured in `benchmarks/memory.md`: 1.7 to 2.0, and 1.0 to 1.2.
HELD, HELD_BY_HAND = 1.8, 1.2
# A CUDA context with its libraries, and what torch's allocator holds per byte in use. Not measured here.
CONTEXT, HELD_ON_GPU = 600_000_000, 1.1


# What makes each less.
KEYS = {
    "student": "student.dtype: bfloat16",
    "optimiser": "student.lora",
    "teacher": "teacher.dtype: bfloat16",
    "reference": "student.lora, whose reference is the student itself, or kl_penalty.kind: none without retention",
    "rollout cache": "rollout.episodes_at_once",
    "rollout activations": "rollout.episodes_at_once",
    "rollout logits": "rollout.episodes_at_once",
    "evaluation cache": "evaluation.episodes_at_once",
    "evaluation activations": "evaluation.episodes_at_once",
    "evaluation logits": "evaluation.episodes_at_once",
    "scores": "objective.distill.top_k",
    "activations": "update.micro_batch_tokens or runtime.gradient_checkpointing",
    "logits": "update.micro_batch_tokens",
    "gradients": "student.lora",
}


@dataclass(frozen=True)
class Need:
    """Bytes by what needs them at the same time."""

    parts: Parts
    fitting: int  # episodes that there is room for
    at_once: dict[Split, tuple[int, int]]  # episodes played at a time, of how many

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {in_words(size)}" for name, size in self.parts.items() if size >= self.total / 100)
        played = {"train": "training", "eval": "evaluation"}
        few = [f"{n} of {of} {played[split]} episodes" for split, (n, of) in self.at_once.items() if n < of]
        return f"{in_words(self.total)} ({parts})" + (f", {' and '.join(few)} played at once" if few else "")


def at_once(config: Train) -> dict[Split, int]:
    """How many episodes are played at a time, at most: as many as the config says, or else as memory has room for."""
    given = all(part.episodes_at_once is not None for part in (config.rollout, config.evaluation))
    if given:
        return _limits(config, UNBOUNDED)
    there = there_is(config.runtime.device, config.runtime.gpu_memory_fraction)
    found = need(config, int(there * share.mine()))
    return _limits(config, found.fitting if found else UNBOUNDED)


def need(config: Train, limit: int | None = None, shared: bool | None = None) -> Need | None:
    """The most that a trial needs at a time; None where it is small, or where a model's code does not tell.

    With a `limit` in bytes, only so many episodes are played at a time as fit in. `shared`: whether the teacher is with
    somebody else, and only its head here; None: as `share` says. Raises UserError for a model or an
    environment that is not there.
    """
    if not isinstance(config.student, Pretrained) or isinstance(config.teacher, CompactTeacher):
        return None
    device = _device(config)
    student = anatomy(config.student, torch_dtype(config.student.dtype, device), config.runtime.gradient_checkpointing)
    teacher = _of_teacher(config, device)
    if student is None or (teacher is None and isinstance(config.teacher, Pretrained)):
        return None
    if teacher is not None and (shared if shared is not None else share.teacher() is not None):
        teacher = replace(teacher, weights=teacher.width * teacher.hidden * teacher.vocabulary, folds=False)
    held, libraries = (HELD_BY_HAND if student.folds else HELD), LIBRARIES
    if device.type != "cpu":
        held, libraries = HELD_ON_GPU, CONTEXT
    stays = standing(config, student, teacher, device) | {"libraries": libraries}
    phases = Phases(config, student, teacher, longest_talk(config, config.student), device)
    fitting = UNBOUNDED
    if limit is not None:
        room = (limit - sum(stays.values())) / held - sum(phases.to_play.values())
        fitting = int(room / sum(phases.an_episode.values()))
    together = _at_once(config, fitting)
    passing = phases.all({split: n for split, (n, _) in together.items()})
    most = max(passing, key=lambda parts: sum(parts.values()))
    gaps = {"allocator": int((held - 1) * sum(most.values()))}
    return Need(stays | most | gaps, fitting, together)


@dataclass(frozen=True)
class TeachersNeed:
    """Bytes of a pretrained teacher: its weights, and all that a process needs that holds it and scores with it.

    `is_mapped`: whether its file has the precision that is asked for, so that a CPU's processes share its pages.
    """

    weights: int
    held: int
    is_mapped: bool


def teacher(config: Train) -> TeachersNeed | None:
    """None where a model's code does not tell. Raises UserError for a model or an environment that is not there."""
    device = _device(config)
    found = _of_teacher(config, device)
    if found is None or not isinstance(config.student, Pretrained) or not isinstance(config.teacher, Pretrained):
        return None
    talk = longest_talk(config, config.student)
    scoring = sum(Phases(config, found, found, talk, device).scoring().values())
    held, libraries = (HELD, LIBRARIES) if device.type == "cpu" else (HELD_ON_GPU, CONTEXT)
    dtype = torch_dtype(config.frozen_dtype, device)
    file = config.teacher.gguf_file is None and load_config(config.teacher).dtype == dtype
    return TeachersNeed(found.weights, int(found.weights * (1 + found.folds) + libraries + held * scoring), file)


def _device(config: Train) -> torch.device:
    return torch.device("cuda" if config.runtime.device != "cpu" and torch.cuda.is_available() else "cpu")


def _of_teacher(config: Train, device: torch.device) -> Anatomy | None:
    if not isinstance(config.teacher, Pretrained):
        return None
    return anatomy(config.teacher, torch_dtype(config.frozen_dtype, device))


def as_made(config: Train, refs: Models) -> Train:
    """A config with a compact student as `need` takes it: with models that are there."""
    teacher: Any = config.teacher
    if isinstance(teacher, CompactTeacher) and refs.teacher is not None:
        teacher = Pretrained(path=refs.teacher.path, dtype=teacher.dtype)
    return config.model_copy(update={"student": Pretrained(path=refs.student.path), "teacher": teacher})


def check(config: Train, limit: int, shared: bool = False) -> Need | None:
    """`need`; UserError if it is more than `limit` bytes, with what to change."""
    found = need(config, limit, shared)
    if found is None or found.total <= limit:
        return found
    largest = max(KEYS, key=lambda name: found.parts.get(name, 0))
    raise UserError(
        f"a trial needs about {found}, but there are {in_words(limit)}; most is the {largest}: lower it by "
        f"{KEYS[largest]}, or need less of one device: student.lora, teacher.kind: server, or TRL, which can shard "
        "(trainer.kind: trl)"
    )


def there_is(device: str, fraction: float | None) -> int:
    """Bytes of memory of the device that trials run on."""
    if device != "cpu" and torch.cuda.is_available():
        index = int(device.partition(":")[2] or 0)
        return int(torch.cuda.get_device_properties(index).total_memory * (fraction or 1.0))
    return memory_bytes()


def longest_talk(config: Train, source: Pretrained) -> Talk:
    """A conversation over the whole horizon whose actions are as long as they may be."""
    tokenizer = kept.tokenizer(source)
    talk = conversation_for(tokenizer, source.chat_template, config.rollout.stop, cast.manner(source, config.rollout))
    most = config.rollout.max_context_tokens or UNBOUNDED
    context = Context(talk, most)
    answer = talk.answer_tokens(config.rollout.max_action_tokens)
    room, longest, chunk = answer + len(talk.end_ids), 0, 0
    game = Checked(config.env)
    cast.check_admissible(config, game)
    try:
        observation = game.reset(TRAIN_SEEDS.start, "train")
        for turn in range(config.env.horizon):
            commands = game.actions() if talk.format.lists else None
            before = len(context.ids)
            context.ask(talk.format.shown(observation, commands, is_first=turn == 0), room)
            chunk = max(chunk, len(context.ids) - before)
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
    whole = most if context.dropped else longest * config.env.horizon // len(context.past)  # others may go on longer
    longest = min(most, whole)
    return Talk(longest, chunk, min(longest, config.env.horizon * answer))


def _action(game: Checked) -> str:
    """What goes on longest without ending the episode badly: what the demonstrator or the rules offer."""
    if game.has("demonstrator_action"):
        return game.demonstrator_action()
    return game.actions()[0] if game.has("actions") else "x"


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
