"""A trial between two steps: its rows and costs, saved to and restored from checkpoints."""

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
from atod_sweep.training.loop.checkpoint import Checkpoint
from atod_sweep.training.loop.update import Updater
from atod_sweep.training.models import adapters
from atod_sweep.training.play.episodes import Player
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
    "rollout": {"temperature"},
}

log = logging.getLogger(__name__)


@dataclass
class TrialState:
    """A trial between two steps. `step` is the next optimiser step, `unreported` the rows not yet handed over."""

    config: Train
    directory: Path
    accelerator: Accelerator
    stage: Stage
    evaluation_player: Player
    algorithm: Algorithm
    updater: Updater
    tokenizer: Any
    mutable: bool = False
    """Whether a checkpoint may be continued under other schedules and rates (population-based training)."""
    step: int = 0
    unreported: list[dict[str, Any]] = field(default_factory=list)

    # ---- metrics and costs -----------------------------------------------------------------------------------------

    def row(self, step: int, metrics: dict[str, Any], seconds: float) -> dict[str, Any]:
        """One training row, of all processes together; moves what was counted into the trial's costs."""
        self.stage.cost["teacher_tokens"] += metrics.pop("teacher_tokens", 0)
        self.stage.cost["updates"] += 1
        extra = {"lr": self.updater.optimiser.param_groups[0]["lr"], "temperature": self.stage.temperature(step)}
        return {"phase": "train", "step": step, **means(self._everyone(metrics)), **extra, **self.bill(seconds)}

    def bill(self, seconds: float, what: str | None = None) -> dict[str, float]:
        """Add seconds to the trial's costs; return all costs so far as `cost/*` (and `seconds/<what>`)."""
        if self.stage.teacher is not None:
            self.stage.cost.update(self.stage.teacher.bill())
        self.stage.cost["seconds"] += seconds  # type: ignore[assignment]  # a Counter adds floats as well
        row = {f"cost/{name}": value for name, value in self.cost().items()}
        return row | ({f"seconds/{what}": seconds} if what else {})

    def cost(self) -> dict[str, float]:
        """Total costs so far: what every process has played, and the time and updates that they share."""
        everyone = self._everyone(dict(self.stage.cost))
        shared = {name: everyone[0][name] for name in ("seconds", "updates") if name in everyone[0]}
        return {name: sum(cost[name] for cost in everyone) for name in everyone[0]} | shared

    def _everyone(self, mine: dict[str, Any]) -> list[dict[str, Any]]:
        """Every process's dictionary."""
        return [mine] if self.accelerator.num_processes == 1 else list(gather_object([mine]))

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """Identifies what must not differ between a checkpoint and the run that continues from it."""
        excluded: dict[str, Any] = {"runtime": True, "checkpoint_every": True, **(MUTABLE if self.mutable else {})}
        if isinstance(self.config.teacher, Served):
            excluded["teacher"] = dict.fromkeys(Served.HOW, True)
        return content_hash(self.config.model_dump(mode="json", exclude=excluded))

    def is_checkpoint(self, step: int) -> bool:
        every = self.config.checkpoint_every or max(1, self.config.steps // 10)
        return step % every == 0 and step < self.config.steps

    def save(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Checkpoint the state before optimiser step `step`; `rows` are those not yet reported."""
        mine = {
            "tasks": self.stage.tasks.bit_generator.state,
            "order": self.updater.order.bit_generator.state,
            "cost": dict(self.stage.cost),
        }
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
                    state={"ranks": ranks, "rows": rows},
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
        self.step, self.unreported = found.step, found.state["rows"]

    def _weights(self) -> dict[str, torch.Tensor]:
        """What training changes, by name; shared tensors once."""
        return {name: p.detach() for name, p in self.stage.policy.named_parameters() if p.requires_grad}

    def finish(self) -> None:
        """Save the trained student as a Hugging Face directory; its checkpoints have served their purpose."""
        if self.accelerator.is_main_process:
            target = self.directory / layout.STUDENT
            if target.exists():
                shutil.rmtree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            student = self.config.student
            extra = adapters.note(student) if isinstance(student, Pretrained) and student.recipe is None else {}
            model_folder.save(target, self.stage.policy.model, self.tokenizer, extra)
            shutil.rmtree(self.directory / layout.CHECKPOINT, ignore_errors=True)
        self.evaluation_player.batch.close()
        self.accelerator.wait_for_everyone()


def means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every metric over the rows that have it; lists entry by entry, None counting as absent."""
    if len(rows) == 1:
        return rows[0]

    def mean(values: list[Any]) -> Any:
        if isinstance(values[0], list):
            return [mean(list(entries)) for entries in zip(*values, strict=True)]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    names = {name: None for row in rows for name in row}  # in the order of the first row
    return {name: mean([row[name] for row in rows if name in row]) for name in names}
