"""The trainer's config: everything one trial needs, resolved and immutable."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from atod_sweep.config.base import LATER, Record, Seed, content_hash
from atod_sweep.config.objective import Interpolated, Objective
from atod_sweep.config.schedules import ClosedFormSchedule, Constant


class Env(Record):
    """Where episodes are played: a shipped family, a Gymnasium id, or your own `module:Class`."""

    id: str = Field("support_desk", description="Shipped family, registered Gymnasium id, or `package.module:Class`.")
    horizon: int = Field(8, ge=1, description="Longest episode, in turns; longer ones are truncated.")
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of the environment's constructor."
    )


# ---- models ------------------------------------------------------------------------------------------------------


class Lesson(Record):
    """Demonstrations in an easier setting of the environment, learned before those of the environment itself."""

    steps: int = Field(ge=1, description="Optimiser steps in this setting, with a learning rate schedule of their own.")
    kwargs: dict[str, Any] = Field(description="What is different here: laid over `env.kwargs`.")


class TeacherRecipe(Record):
    """How a compact teacher is trained: on perturbed demonstrations, labelled with the demonstrator's choice."""

    steps: int = Field(250, ge=1, description="Optimiser steps of supervised training.")
    episodes: int = Field(64, ge=1, description="Episodes per optimiser step.")
    lr: float = Field(2e-3, gt=0, description="Peak AdamW learning rate (linear warm-up over 5 %, cosine to 0).")
    perturb: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Chance per turn that a random action is played while the demonstrator's is the label.",
    )
    horizons: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list, description="Horizons in the training mix, in turns; empty: the environment's own."
    )
    curriculum: list[Lesson] = Field(
        default_factory=list,
        description="Easier settings to learn first, one after the other, before `steps`.",
        json_schema_extra=LATER,
    )
    seed: Seed = Field(0, description="Seed of initialisation, tasks and perturbations.")


class StudentRecipe(TeacherRecipe):
    """How a compact student gets a prior: as the teacher, stopped as soon as its success is inside a band."""

    success: tuple[float, float] = Field(
        (0.12, 0.25), description="Band of evaluation success (0 to 1) in which pretraining stops."
    )

    @model_validator(mode="after")
    def _band(self) -> StudentRecipe:
        low, high = self.success
        if not 0 <= low < high <= 1:
            raise ValueError(f"success: a band needs 0 <= low < high <= 1, got {[low, high]}; use [0.12, 0.25]")
        return self


class PretrainedRecipe(TeacherRecipe):
    """Supervised steps on demonstrations before a pretrained model teaches or learns: all its weights, or `lora`."""

    steps: int = Field(100, ge=1, description="Optimiser steps of supervised training; fewer for a student.")
    episodes: int = Field(16, ge=1, description="Episodes per optimiser step.")
    lr: float = Field(1e-4, gt=0, description="Peak AdamW learning rate (linear warm-up over 5 %, cosine to 0).")
    perturb: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Chance per turn that a random action is played while the demonstrator's is the label.",
    )


class _Compact(Record):
    hidden: int = Field(64, ge=8, description="Width of the residual stream.")
    layers: int = Field(2, ge=1, description="Number of transformer blocks.")
    heads: int = Field(4, ge=1, description="Number of attention heads; divides hidden.")
    intermediate: int | None = Field(None, ge=8, description="Width of the MLP; null: 3 x hidden.")

    @model_validator(mode="after")
    def _divides(self) -> _Compact:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(f"heads: hidden / heads must be an even integer, got {self.hidden} / {self.heads}")
        return self


class CompactTeacher(_Compact):
    """A Llama of a few hundred thousand parameters, trained here on the environment's demonstrator, and cached."""

    kind: Literal["compact"] = "compact"
    hidden: int = Field(128, ge=8, description="Width of the residual stream.")
    recipe: TeacherRecipe = Field(default_factory=TeacherRecipe, description="How it is trained.")


class CompactStudent(_Compact):
    """A smaller Llama, pretrained here until it has a usable prior, and cached."""

    kind: Literal["compact"] = "compact"
    recipe: StudentRecipe = Field(default_factory=StudentRecipe, description="How it is pretrained.")


class Lora(Record):
    """Low-rank adapters (needs the `lora` extra)."""

    rank: int = Field(16, ge=1, description="Rank of the adapters.")
    alpha: float = Field(32.0, gt=0, description="Scale of the adapters.")
    target_modules: list[str] | Literal["all-linear"] = Field("all-linear", description="Modules that get an adapter.")


class Thoughts(Record):
    """What a model thinks before it acts: never heard by the environment, kept or dropped as its template does."""

    tokens: int = Field(512, ge=1, description="Longest thought, in tokens, beside the action's; then it is closed.")
    learn: bool = Field(True, description="Whether tokens of thoughts carry loss; false: those of actions alone.")
    open: str | None = Field(None, min_length=1, description="What opens a thought; null: as the template does.")
    close: str | None = Field(None, min_length=1, description="What closes a thought; null: as the template does.")

    @model_validator(mode="after")
    def _both(self) -> Thoughts:
        if (self.open is None) != (self.close is None):
            raise ValueError(
                f"open: set open and close together or neither, got open {self.open!r} and close {self.close!r}"
            )
        return self


class Pretrained(Record):
    """Any Hugging Face causal LM."""

    kind: Literal["pretrained"] = "pretrained"
    path: str = Field(description="Model directory or hub id.")
    gguf_file: str | None = Field(None, description="File inside `path` to load if the weights are GGUF.")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Precision of the loaded weights.")
    chat_template: bool = Field(
        True, description="Talk through the tokenizer's chat template if it has one; false: plain text."
    )
    lora: Lora | None = Field(None, description="Train low-rank adapters instead of all weights.")
    recipe: PretrainedRecipe | None = Field(
        None,
        description="Demonstrations that the model learns first, in its own template; what comes out is cached, with "
        "adapters merged. null: the model as it is.",
        json_schema_extra=LATER,
    )
    system: str | None = Field(
        None, description="System message before every conversation; null: the template's own.", json_schema_extra=LATER
    )
    chat_template_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="What the chat template is given beside the messages, such as enable_thinking: false.",
        json_schema_extra=LATER,
    )
    date: str = Field(
        "2025-01-01",
        description="The day (YYYY-MM-DD) that a chat template reads off the clock, the same whenever a run goes on.",
        json_schema_extra=LATER,
    )
    thoughts: Thoughts | None = Field(
        None,
        description="Budget and marks of thoughts; null: where the template knows of thoughts, they are part of the "
        "action's tokens, and the environment hears what follows them.",
        json_schema_extra=LATER,
    )
    conversation: Literal["auto", "growing", "per_turn"] = Field(
        "auto",
        description="growing: a turn is appended to what was said; per_turn: each turn is rendered anew and is a "
        "training sequence of its own; auto: growing where the chat template renders the same ids so.",
        json_schema_extra=LATER,
    )

    @field_validator("date")
    @classmethod
    def _day(cls, value: str) -> str:
        try:
            datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"needs a day as YYYY-MM-DD, such as 2025-01-01, got {value!r}") from None
        return value

    def made(self, path: str) -> Pretrained:
        """The whole model that was made of this one and lies at `path`: addressed the same."""
        return self.model_copy(update={"path": path, "gguf_file": None, "lora": None, "recipe": None})


class NoTeacher(Record):
    """Reward only."""

    kind: Literal["none"] = "none"


Student = Annotated[CompactStudent | Pretrained, Field(discriminator="kind")]
Teacher = Annotated[CompactTeacher | Pretrained | NoTeacher, Field(discriminator="kind")]

# ---- the loop ----------------------------------------------------------------------------------------------------


class Rollout(Record):
    """How episodes are sampled."""

    tasks: int = Field(8, ge=1, description="Different tasks per optimiser step.")
    group_size: int = Field(8, ge=1, description="Rollouts per task (G); group-relative advantages need at least 2.")
    temperature: ClosedFormSchedule = Field(
        default_factory=lambda: Constant(start=1.0), description="Sampling temperature: a number or a schedule."
    )
    max_action_tokens: int = Field(4, ge=1, description="Longest action, in tokens, the stop token included.")
    max_context_tokens: int | None = Field(
        None,
        ge=16,
        description="Longest conversation in tokens; older turns are dropped and counted. null: the model's.",
    )
    stop: list[str] = Field(default_factory=list, description="Strings that end an action, beside the stop token.")
    step_timeout: float | None = Field(
        None,
        gt=0,
        description="Seconds one step of one environment may take before the trial ends; starting a task may take 120 "
        "in any case. Environments run in worker processes then. Null: no limit.",
    )

    @model_validator(mode="after")
    def _samples(self) -> Rollout:
        coldest = self.temperature.extremes()[0]
        if coldest <= 0:
            raise ValueError(
                f"temperature: rollouts are sampled, must be above 0 at every step, got {coldest}; use 1.0"
            )
        return self


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
    decay: Literal["constant", "linear", "cosine"] = Field(
        "constant",
        description="The rate from the warm-up to the run's end: constant, or falling to 0 on a line or half a cosine.",
        json_schema_extra=LATER,
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
    attempts: int = Field(
        1, ge=1, description="Episodes per task (k); more than one also reports pass@1 and pass@k over the tasks."
    )
    temperature: float = Field(0.4, ge=0, description="Sampling temperature; 0 is greedy.")
    seed: Seed = Field(1, description="Seed of the held-out task set and of sampling on it.")
    final: Final | None = Field(
        None,
        description="Task sets played once, at the end, which claims are then judged by (final/success); null: none.",
        json_schema_extra=LATER,
    )

    @model_validator(mode="after")
    def _different_attempts(self) -> Evaluation:
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
        "fp32", description="Precision of teacher and reference; auto: bf16 where the device computes in it."
    )
    gradient_checkpointing: bool = Field(False, description="Trade compute for memory in the student's backward pass.")
    cuda_graphs: bool = Field(
        True, description="CUDA only: replay decoding steps from CUDA graphs; keeps one cache per number of rows."
    )
    gpu_memory_fraction: float | None = Field(
        None, gt=0, le=1, description="Cap on this process's share of GPU memory."
    )


class Train(Record):
    """One trial."""

    env: Env = Field(default_factory=Env, description="Environment.")
    student: Student = Field(default_factory=CompactStudent, description="The model that learns.")
    teacher: Teacher = Field(default_factory=CompactTeacher, description="The frozen model that it imitates.")
    objective: Objective = Field(default_factory=Interpolated, description="What is optimised.")
    rollout: Rollout = Field(default_factory=Rollout, description="How episodes are sampled.")
    update: Update = Field(default_factory=Update, description="What happens to one batch of rollouts.")
    optimiser: Optimiser = Field(default_factory=Optimiser, description="AdamW and its warm-up.")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="Held-out evaluation.")
    runtime: Runtime = Field(default_factory=Runtime, description="Device, threads, precision.")
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
        return self


def model_key(config: dict[str, Any]) -> str:
    """Identity of the teacher and base student that a resolved config, as plain data, needs.

    The same models serve an environment whatever the horizon, unless they are trained for that horizon alone.
    """
    env = {key: value for key, value in config["env"].items() if key != "horizon"}
    own = [config[role] for role in ("teacher", "student")]
    unmixed = any((recipe := model.get("recipe")) is not None and not recipe["horizons"] for model in own)
    return content_hash([env, own, config["env"]["horizon"] if unmixed else None])
