"""The trainer's config: everything one trial needs, resolved and immutable."""

from __future__ import annotations

from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, model_validator

from atod_sweep.config import takeover, teachers
from atod_sweep.config.base import Later, Record, Seed, content_hash
from atod_sweep.config.env import Env as Env
from atod_sweep.config.models import CompactStudent, CompactTeacher, Dtype, NoTeacher, Pretrained, Student, Teacher
from atod_sweep.config.objective import Interpolated, Mixture, Objective
from atod_sweep.config.retention import Retained, check_names
from atod_sweep.config.reward import EnvReward, Reward
from atod_sweep.config.rollout import Rollout
from atod_sweep.config.signals import Relabel
from atod_sweep.config.stand_ins import RandomTeacher
from atod_sweep.config.teachers import Served
from atod_sweep.config.trainer import Atod, Trainer

# ---- the loop ----------------------------------------------------------------------------------------------------


class Update(Record):
    """What happens to one batch of rollouts."""

    epochs: int = Field(1, ge=1, description="Passes over one batch of rollouts.")
    minibatches: int = Field(1, ge=1, description="Optimiser steps per pass.")
    target_kl: float | None = Field(
        None, gt=0, description="Stop the passes once the approximate KL to the rollout policy exceeds this, in nats."
    )
    micro_batch_tokens: int | None = Field(
        None, ge=64, description="Padded tokens per forward and backward pass; more are accumulated. null: all at once."
    )


class Optimiser(Record):
    """AdamW with a linear warm-up; weights of less than float32 have a master in float32 each."""

    lr: float = Field(1e-3, gt=0, description="Learning rate after the warm-up.")
    warmup_steps: int = Field(20, ge=0, description="Optimiser steps of linear warm-up from 0.")
    decay: Literal["constant", "linear", "cosine"] = Later(
        "constant",
        description="The rate from the warm-up to the run's end: constant, or falling to 0 on a line or half a cosine.",
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.95), description="AdamW moment decays, each in [0, 1)."
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")


class Final(Record):
    """Fresh held-out tasks that the finished student plays once: nobody has chosen anything by them.

    None of them is a task of `evaluation.seed`, on which curves, searches and early stopping look, and no two sets
    share one. Several sets show how much a result depends on the tasks. An environment with few tasks repeats them.
    """

    sets: int = Field(8, ge=4, description="Independent sets of tasks; intervals need at least four.")
    tasks: int = Field(512, ge=1, description="Tasks per set.")


class Evaluation(Record):
    """Success on a fixed set of held-out tasks, with a generator of its own."""

    every: int = Field(
        50, ge=1, description="Optimiser steps between evaluations; steps 0 and the last are always evaluated."
    )
    tasks: int = Field(512, ge=1, description="Held-out tasks per evaluation.")
    episodes_at_once: int | None = Later(
        None, ge=1, description="Tasks played at a time, which changes no result; null: all that memory has room for."
    )
    attempts: int = Field(
        1, ge=1, description="Episodes per task (k); more than one also reports pass@1 and pass@k over the tasks."
    )
    temperature: float = Field(0.4, ge=0, description="Sampling temperature; 0 is greedy.")
    top_k: int | None = Later(None, ge=1, description="Sample among the k likeliest tokens; null: among all.")
    top_p: float | None = Later(
        None,
        gt=0,
        le=1,
        description="Sample among as few tokens as hold this share of the probability; null: among all.",
    )
    min_p: float | None = Later(
        None,
        gt=0,
        le=1,
        description="Sample among tokens of at least this times the likeliest one's probability; null: among all.",
    )
    seed: Seed = Field(1, description="Seed of the held-out task set and of sampling on it.")
    final: Final | None = Later(
        None,
        description="Task sets played once, at the end, which claims are then judged by (final/success); null: none.",
    )
    retention: list[Retained] = Later(
        default_factory=list,
        description="Other environments and texts: what the student unlearns meanwhile (retention/NAME/...).",
    )

    @model_validator(mode="after")
    def _all_different(self) -> Evaluation:
        check_names(self.retention)
        if self.attempts > 1 and self.temperature == 0:
            raise ValueError(
                f"attempts: {self.attempts} greedy episodes of a task are all the same; set temperature above 0"
            )
        return self


class Runtime(Record):
    """Where and in which precision: must not change what is learned beyond rounding."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$", description="auto, cpu, cuda or cuda:N.")
    threads: int = Field(1, ge=1, description="CPU threads of torch; with 1, tokenizers take one, too.")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast in the student's update.")
    teacher_dtype: Literal["fp32", "bf16", "auto"] = Field(
        "fp32", description="Older name of teacher.dtype, which it overrules unless it is fp32."
    )
    gradient_checkpointing: bool = Field(False, description="Trade compute for memory in the student's backward pass.")
    cuda_graphs: bool = Field(
        True, description="CUDA only: replay decoding steps from CUDA graphs; keeps one cache per number of rows."
    )
    hand_written: bool = Later(
        True,
        description="Small models of Llama's kind are computed by the trainer's own passes; false: by transformers, as "
        "all others are (slower, to look into a doubt; the recipes of compact models keep to their own).",
    )
    gpu_memory_fraction: float | None = Field(
        None, gt=0, le=1, description="Cap on this process's share of GPU memory."
    )


class Train(Record):
    """One trial."""

    env: Env = Field(default_factory=Env, description="Environment.")
    student: Student = Field(default_factory=CompactStudent, description="The model that learns.")
    teacher: Teacher = Field(default_factory=CompactTeacher, description="The frozen model that it imitates.")
    reward: Reward = Later(
        default_factory=EnvReward,
        description="What students are rewarded for; evaluations tell the environment's own reward anyway.",
    )
    objective: Objective = Field(default_factory=Interpolated, description="What is optimised.")
    rollout: Rollout = Field(default_factory=Rollout, description="How episodes are sampled.")
    update: Update = Field(default_factory=Update, description="What happens to one batch of rollouts.")
    optimiser: Optimiser = Field(default_factory=Optimiser, description="AdamW and its warm-up.")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="Held-out evaluation.")
    runtime: Runtime = Field(default_factory=Runtime, description="Device, threads, precision.")
    trainer: Trainer = Later(default_factory=Atod, description="What runs the steps: this package, or TRL.")
    steps: int = Field(400, ge=1, description="Optimiser steps S (batches of rollouts).")
    checkpoint_every: int | None = Field(
        None, ge=1, description="Optimiser steps between checkpoints; null: one tenth of the run."
    )
    diagnostics_every: int = Field(
        50, ge=1, description="Optimiser steps between gradient norms per term (each costs one backward pass per term)."
    )
    seed: Seed = Field(0, description="Seed of tasks, sampling and order; never of the initial student.")

    @model_validator(mode="after")
    def _coherent(self) -> Train:
        self.objective.check(self)
        teachers.check(self)
        takeover.check(self)
        self.trainer.check(self)
        if not (isinstance(self.student, Pretrained) and isinstance(self.teacher, Pretrained | Served | NoTeacher)):
            self.rollout.check_for_compact()
        return self

    @property
    def only_scores(self) -> bool:
        """Whether the teacher is a model of ours, as it is, that is asked for probabilities alone."""
        objective = self.objective
        return (
            isinstance(self.teacher, CompactTeacher | Pretrained)
            and isinstance(self.trainer, Atod)
            and isinstance(objective, Mixture)
            and not isinstance(objective.distill, Relabel)
            and not isinstance(objective.stand_in, RandomTeacher)
            and not self.rollout.teacher_plays
        )

    @property
    def frozen_dtype(self) -> Dtype:
        """Precision of teacher and reference."""
        match self.runtime.teacher_dtype:
            case "bf16":
                return "bfloat16"
            case "auto":
                return "auto"
            case "fp32":
                return "float32" if isinstance(self.teacher, NoTeacher | Served) else self.teacher.dtype
            case _:
                assert_never(self.runtime.teacher_dtype)


def model_key(config: dict[str, Any]) -> str:
    """Identity of the teacher and base student that a resolved config, as plain data, needs.

    The same models serve an environment whatever the horizon, unless they are trained for that horizon alone.
    """
    env = {key: value for key, value in config["env"].items() if key != "horizon"}
    own = [config[role] for role in ("teacher", "student")]
    unmixed = any((recipe := model.get("recipe")) is not None and not recipe["horizons"] for model in own)
    return content_hash([env, own, config["env"]["horizon"] if unmixed else None])
