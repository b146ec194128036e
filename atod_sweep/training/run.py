"""Everything one trial consists of: built from its config, saved to and restored from checkpoints."""

from __future__ import annotations

import copy
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed

from atod_sweep.config.base import content_hash
from atod_sweep.config.objective import DPO as DPOConfig
from atod_sweep.config.objective import SFT as SFTConfig
from atod_sweep.config.objective import SPIN as SPINConfig
from atod_sweep.config.objective import Hybrid, Interpolated
from atod_sweep.config.train import Pretrained, Train
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.pool import Pool, open_batch
from atod_sweep.errors import UserError
from atod_sweep.training import checkpoint, models
from atod_sweep.training.baselines import DPO, SFT, SPIN
from atod_sweep.training.checkpoint import Checkpoint
from atod_sweep.training.conversation import conversation_for
from atod_sweep.training.episodes import Player
from atod_sweep.training.evaluate import evaluate
from atod_sweep.training.failures import BadCheckpoint
from atod_sweep.training.hybrid import HybridMix
from atod_sweep.training.interpolated import InterpolatedMix
from atod_sweep.training.outcomes import Limits
from atod_sweep.training.policy import Policy, checkpoint_activations, load_model, load_tokenizer
from atod_sweep.training.randomness import numpy_generator, torch_generator
from atod_sweep.training.runtime import frozen_dtype, keep_freed_memory, use_threads
from atod_sweep.training.scoring import SCORING_TOKENS
from atod_sweep.training.stage import Algorithm, Stage
from atod_sweep.training.update import Updater

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A trial between two steps. `step` is the next optimiser step, `unreported` the rows not yet handed over."""

    config: Train
    directory: Path
    accelerator: Accelerator
    stage: Stage
    evaluation_player: Player
    algorithm: Algorithm
    updater: Updater
    tokenizer: Any
    step: int = 0
    unreported: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def start(config: Train, directory: Path, resume: bool) -> Run:
        """Build a trial; with `resume`, at its newest whole checkpoint (or at step 0 if there is none)."""
        accelerator = _accelerator(config)
        if config.rollout.tasks < accelerator.num_processes:
            raise UserError(
                f"rollout.tasks: {config.rollout.tasks}, but {accelerator.num_processes} processes share the tasks; "
                f"set it to at least {accelerator.num_processes}, or launch fewer processes"
            )
        refs = models.ensure(config)
        student_config = (
            config.student if isinstance(config.student, Pretrained) else Pretrained(path=refs.student.path)
        )
        tokenizer = load_tokenizer(student_config.path, student_config.gguf_file)
        objective = config.objective
        uses_gae = isinstance(objective, Interpolated) and objective.advantage.kind == "gae"
        set_seed(config.seed)  # only LoRA's initialisation draws from the global generators
        model = load_model(student_config)
        if config.runtime.gradient_checkpointing:
            checkpoint_activations(model)
        policy = Policy(model, value_head=uses_gae).to(accelerator.device).train()
        dtype = frozen_dtype(config.runtime.teacher_dtype, accelerator.device)
        episodes = max(config.rollout.tasks * config.rollout.group_size, config.evaluation.tasks)
        player = _player(config, tokenizer, student_config, model, _batch(config, episodes))
        teacher, teacher_player = _teacher(config, refs, tokenizer, player, dtype, accelerator.device)
        needs_reference = isinstance(objective, DPOConfig | SPINConfig) or (
            isinstance(objective, Interpolated | Hybrid) and objective.kl_penalty.kind != "none"
        )
        # SPIN's reference also plays and is renewed from the student, so it stays in the student's precision.
        reference = (
            _frozen(policy, torch.float32 if isinstance(objective, SPINConfig) else dtype) if needs_reference else None
        )
        optimiser = _optimiser(config, policy)
        rank = accelerator.process_index
        stage = Stage(
            config=config,
            policy=policy,
            player=player,
            teacher=teacher,
            teacher_player=teacher_player,
            tasks=numpy_generator(config.seed, "tasks"),
            sampling=torch_generator(config.seed, f"sampling {rank}", accelerator.device),
            score_tokens=SCORING_TOKENS if accelerator.device.type == "cpu" else 16 * SCORING_TOKENS,
            rank=rank,
            world=accelerator.num_processes,
        )
        wrapped, wrapped_optimiser = accelerator.prepare(policy, optimiser)
        run = Run(
            config=config,
            directory=directory,
            accelerator=accelerator,
            stage=stage,
            evaluation_player=player,
            algorithm=_algorithm(config, teacher, reference),
            updater=Updater(
                accelerator, wrapped, wrapped_optimiser, config, numpy_generator(config.seed, f"minibatches {rank}")
            ),
            tokenizer=tokenizer,
        )
        if resume:
            run._restore()
        elif accelerator.is_main_process:  # or a later resume would take up what an earlier run left here
            shutil.rmtree(directory / "checkpoint", ignore_errors=True)
        return run

    # ---- metrics and costs -----------------------------------------------------------------------------------------

    def row(self, step: int, metrics: dict[str, Any], seconds: float) -> dict[str, Any]:
        """One training row, of all processes together; moves what was counted into the trial's costs."""
        self.stage.cost["teacher_tokens"] += metrics.pop("teacher_tokens", 0)
        self.stage.cost["updates"] += 1
        extra = {"lr": self.updater.optimiser.param_groups[0]["lr"], "temperature": self.stage.temperature(step)}
        return {"phase": "train", "step": step, **means(self._everyone(metrics)), **extra, **self.bill(seconds)}

    def bill(self, seconds: float, what: str | None = None) -> dict[str, float]:
        """Add seconds to the trial's costs; return all costs so far as `cost/*` (and `seconds/<what>`)."""
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
        return content_hash(self.config.model_dump(mode="json", exclude={"runtime", "checkpoint_every"}))

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
                self.directory / "checkpoint",
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

    def _restore(self) -> None:
        found = checkpoint.load_newest(self.directory / "checkpoint", self.digest, self.accelerator.device, log.warning)
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
            target = self.directory / "student"
            if target.exists():
                shutil.rmtree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            models.save(target, self.stage.policy.model, self.tokenizer, {})
            shutil.rmtree(self.directory / "checkpoint", ignore_errors=True)
        self.evaluation_player.batch.close()
        self.accelerator.wait_for_everyone()

    @staticmethod
    def evaluate_only(config: Train, source: Pretrained) -> dict[str, Any]:
        """`eval/*` of a saved model on the config's held-out tasks."""
        accelerator = _accelerator(config)
        model = load_model(source)
        batch = _batch(config, config.evaluation.tasks)
        player = _player(config, load_tokenizer(source.path, source.gguf_file), source, model, batch)
        found = evaluate(Policy(model).to(accelerator.device), player, config.evaluation)
        batch.close()
        return found


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


def _accelerator(config: Train) -> Accelerator:
    use_threads(config.runtime.threads)
    keep_freed_memory()
    wanted = config.runtime.device
    _take_device(wanted)
    accelerator = Accelerator(cpu=wanted == "cpu")
    if config.runtime.gpu_memory_fraction is not None and accelerator.device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(config.runtime.gpu_memory_fraction, accelerator.device)
    return accelerator


def _take_device(wanted: str) -> None:
    """Make the Nth device of `cuda:N` the one that "cuda" means. Data-parallel processes choose by their rank."""
    if not wanted.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise UserError(f"runtime.device: {wanted!r}, but this machine has no CUDA device; use auto or cpu")
    if ":" in wanted:
        index, there = int(wanted.split(":")[1]), torch.cuda.device_count()
        if index >= there:
            raise UserError(f"runtime.device: {wanted!r}, but the last CUDA device is cuda:{there - 1}; use auto")
        torch.cuda.set_device(index)


def _batch(config: Train, size: int) -> Batch | Pool:
    return open_batch(config.env, size, workers=config.runtime.threads, timeout=config.rollout.step_timeout)


def _player(config: Train, tokenizer: Any, source: Pretrained, model: Any, batch: Batch | Pool) -> Player:
    room = getattr(model.config, "max_position_embeddings", None) or 2048
    context = min(room, config.rollout.max_context_tokens or room)
    conversation = conversation_for(tokenizer, source.chat_template, config.rollout.stop)
    limits = Limits(config.rollout.max_action_tokens, context)
    return Player(batch, conversation, limits, config.runtime.cuda_graphs)


def _teacher(
    config: Train, refs: models.Models, tokenizer: Any, player: Player, dtype: torch.dtype, device: torch.device
) -> tuple[Policy | None, Player | None]:
    """The frozen teacher and, for objectives that let it play, its player. Raises UserError on other vocabularies."""
    if refs.teacher is None:
        return None, None
    source = config.teacher if isinstance(config.teacher, Pretrained) else Pretrained(path=refs.teacher.path)
    teacher_tokenizer = load_tokenizer(source.path, source.gguf_file)
    same_vocabulary = teacher_tokenizer.get_vocab() == tokenizer.get_vocab()
    if not same_vocabulary and not isinstance(config.objective, SFTConfig):
        raise UserError(
            f"teacher.path: {source.path!r} has another vocabulary ({len(teacher_tokenizer)} tokens, the student "
            f"{len(tokenizer)}), so their token probabilities cannot be compared; use a teacher of the same family, or "
            "objective.kind: sft, which learns from the teacher's text"
        )
    model = load_model(source, dtype).to(device)
    teacher = Policy(model).frozen()
    if same_vocabulary:
        return teacher, player
    return teacher, _player(config, teacher_tokenizer, source, model, player.batch)


def _frozen(policy: Policy, dtype: torch.dtype) -> Policy:
    """A copy of the student as it is now, that never learns.

    Only weights change their precision: a rotary embedding's frequencies, which are a buffer, would be wrong in bf16.
    """
    frozen = copy.deepcopy(policy)
    for parameter in frozen.parameters():
        parameter.data = parameter.data.to(dtype)
    return frozen.frozen()


def _optimiser(config: Train, policy: Policy) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [p for p in policy.parameters() if p.requires_grad],
        lr=config.optimiser.lr,
        betas=config.optimiser.betas,
        weight_decay=config.optimiser.weight_decay,
        fused=True,
    )


def _algorithm(config: Train, teacher: Policy | None, reference: Policy | None) -> Algorithm:
    match config.objective:
        case Interpolated() as objective:
            return InterpolatedMix(config, objective, teacher, reference)
        case Hybrid() as objective:
            return HybridMix(config, objective, teacher, reference)
        case SFTConfig():
            return SFT()
        case SPINConfig() as objective:
            assert reference is not None
            return SPIN(config, objective, reference)
        case DPOConfig() as objective:
            assert reference is not None
            return DPO(config, objective, reference)
