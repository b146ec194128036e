"""A trial between two steps, saved to and restored from checkpoints."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from atod_sweep.config.base import content_hash
from atod_sweep.config.models import Pretrained
from atod_sweep.config.teachers import Served
from atod_sweep.config.train import Train
from atod_sweep.records import layout
from atod_sweep.training.algorithms.stage import Algorithm, Stage
from atod_sweep.training.failures import BadCheckpoint
from atod_sweep.training.loop import checkpoint
from atod_sweep.training.loop.books import Books
from atod_sweep.training.loop.checkpoint import Checkpoint
from atod_sweep.training.loop.update import Updater
from atod_sweep.training.models import adapters
from atod_sweep.training.pretraining import model_folder

# What population-based training may change in mid-run: how much of everything, never what there is.
MUTABLE: dict[str, Any] = {
    "objective": {
        "distill_weight": True,
        "reward_weight": True,
        "turns": True,
        "entropy_coef": True,
        "kl_penalty": {"coef"},
    },
    "optimiser": {"lr"},
    "rollout": {"temperature", "takeover", "depth"},
}

# Where a trial runs, and how much of it at a time.
IMMATERIAL: dict[str, Any] = {
    "runtime": True,
    "checkpoint_every": True,
    "rollout": {"episodes_at_once"},
    "evaluation": {"episodes_at_once"},
}

log = logging.getLogger(__name__)


@dataclass
class TrialState:
    """A trial between two steps. `step` is the next optimiser step, `unreported` the rows not yet handed over."""

    config: Train
    directory: Path
    accelerator: Accelerator
    stage: Stage
    books: Books
    algorithm: Algorithm
    updater: Updater
    tokenizer: Any
    mutable: bool = False
    """Whether a checkpoint may be continued under other schedules and rates (population-based training)."""
    step: int = 0
    unreported: list[dict[str, Any]] = field(default_factory=list)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """Identifies what must not differ between a checkpoint and the run that continues from it."""
        return digest(self.config, MUTABLE if self.mutable else {})

    def is_checkpoint(self, step: int) -> bool:
        return is_checkpoint(self.config, step)

    def save(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Checkpoint the state before optimiser step `step`; `rows` are those not yet reported."""
        mine = {
            "tasks": self.stage.tasks.bit_generator.state,
            "order": self.updater.order.bit_generator.state,
            "cost": dict(self.stage.cost),
        }
        kept = self.books.retention
        ranks = gather_object([mine])
        samplers = gather_object([self.stage.sampling.get_state()])
        if self.accelerator.is_main_process:
            checkpoint.save(
                self.directory / layout.CHECKPOINT,
                Checkpoint(
                    step=step,
                    weights=self._weights(),
                    tensors={
                        "optimiser": self.updater.optimiser.state_dict(),
                        "sampling": samplers,
                        "algorithm": self.algorithm.state_dict(),
                    },
                    state={"ranks": ranks, "rows": rows} | ({"retained": kept.before} if kept else {}),
                ),
                self.digest,
            )
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Go on from the newest whole checkpoint, if there is one. Raises BadCheckpoint."""
        found = checkpoint.load_newest(
            self.directory / layout.CHECKPOINT, self.digest, self.accelerator.device, log.warning
        )
        if found is None:
            return
        with torch.no_grad():
            for name, parameter in self._weights().items():
                parameter.copy_(found.weights[name])
        self.updater.optimiser.load_state_dict(found.tensors["optimiser"])
        self.algorithm.load_state_dict(found.tensors["algorithm"])
        rank, ranks = self.accelerator.process_index, len(found.state["ranks"])
        if ranks != self.accelerator.num_processes:
            raise BadCheckpoint(
                f"{self.directory}: a run of {ranks} processes cannot be resumed with {self.accelerator.num_processes}"
            )
        self.stage.sampling.set_state(found.tensors["sampling"][rank].cpu())
        mine = found.state["ranks"][rank]
        self.stage.tasks.bit_generator.state = mine["tasks"]
        self.updater.order.bit_generator.state = mine["order"]
        self.stage.cost.update(mine["cost"])
        if self.books.retention is not None:
            self.books.retention.before = dict(found.state["retained"])
        self.step, self.unreported = found.step, found.state["rows"]

    def _weights(self) -> dict[str, torch.Tensor]:
        """What training changes, by name; shared tensors once."""
        return {name: p.detach() for name, p in self.stage.policy.named_parameters() if p.requires_grad}

    def finish(self) -> None:
        """Save the trained student; its checkpoints have served their purpose."""
        if self.accelerator.is_main_process:
            save_student(self.config, self.directory, self.stage.policy.model, self.tokenizer)
        self.books.close()
        self.accelerator.wait_for_everyone()


def is_checkpoint(config: Train, step: int) -> bool:
    """Whether one is due before optimiser step `step`."""
    every = config.checkpoint_every or max(1, config.steps // 10)
    return step % every == 0 and step < config.steps


def save_student(config: Train, directory: Path, model: Any, tokenizer: Any) -> None:
    """Save a trained student as a Hugging Face directory, and remove the trial's checkpoints."""
    target = directory / layout.STUDENT
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    student = config.student
    extra = adapters.note(student) if isinstance(student, Pretrained) and student.recipe is None else {}
    model_folder.save(target, model, tokenizer, extra)
    shutil.rmtree(directory / layout.CHECKPOINT, ignore_errors=True)


def digest(config: Train, mutable: dict[str, Any]) -> str:
    """Of all that must not differ when a training goes on: neither what is immaterial counts, nor what is `mutable`."""
    excluded = IMMATERIAL | mutable | {"rollout": IMMATERIAL["rollout"] | mutable.get("rollout", set())}
    if isinstance(config.teacher, Served):
        excluded["teacher"] = set(Served.HOW)
    return content_hash(config.model_dump(mode="json", exclude=excluded))
