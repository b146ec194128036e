"""The models of a trial, as data: compact ones that are trained here, pretrained ones, and what adapts those."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from atod_sweep.config.base import Later, Record, Seed
from atod_sweep.config.env import Env
from atod_sweep.config.settings import Settings
from atod_sweep.config.teachers import ChatTeacher, ServerTeacher


class Lesson(Record):
    """Demonstrations in an easier setting of the environment, learned before those of the environment itself."""

    steps: int = Field(ge=1, description="Optimiser steps in this setting, with a learning rate schedule of their own.")
    kwargs: Settings = Field(description="What is different here: laid over `env.kwargs`.")


Perturb = Annotated[
    float,
    Field(
        ge=0, lt=1, description="Chance per turn that a random action is played while the demonstrator's is the label."
    ),
]


class TeacherRecipe(Record):
    """How a compact teacher is trained: on perturbed demonstrations, labelled with the demonstrator's choice."""

    steps: int = Field(250, ge=1, description="Optimiser steps of supervised training.")
    episodes: int = Field(64, ge=1, description="Episodes per optimiser step.")
    lr: float = Field(2e-3, gt=0, description="Peak AdamW learning rate (linear warm-up over 5 %, cosine to 0).")
    perturb: Perturb = 0.3
    horizons: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list, description="Horizons in the training mix, in turns; empty: the environment's own."
    )
    curriculum: list[Lesson] = Later(
        default_factory=list, description="Easier settings to learn first, one after the other, before `steps`."
    )
    seed: Seed = Field(0, description="Seed of initialisation, tasks and perturbations.")


def _by_id(value: Any) -> Any:
    return {"id": value} if isinstance(value, str) else value


class StudentRecipe(TeacherRecipe):
    """How a compact student gets a prior: as the teacher, stopped as soon as its success is inside a band."""

    success: tuple[float, float] = Field(
        (0.12, 0.25), description="Band of evaluation success (0 to 1) in which pretraining stops."
    )
    also: list[Annotated[Env, BeforeValidator(_by_id)]] = Later(
        default_factory=list,
        description="Other environments (ids will do) that the student learns first, for `steps`, and goes on with "
        "beside its own; the teacher knows their words. What is lost of them: evaluation.retention.",
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
    perturb: Perturb = 0.1


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

    @property
    def parameters(self) -> int:
        """How many there are, those of its words aside: their number is known once it has been made."""
        mlp = 3 * self.hidden * (self.intermediate or 3 * self.hidden)
        return self.layers * (4 * self.hidden**2 + mlp + 2 * self.hidden) + self.hidden


Dtype = Literal["float32", "bfloat16", "auto"]


class CompactTeacher(_Compact):
    """A Llama of a few hundred thousand parameters, trained here on the environment's demonstrator, and cached."""

    kind: Literal["compact"] = "compact"
    hidden: int = Field(128, ge=8, description="Width of the residual stream.")
    dtype: Dtype = Later("float32", description="Precision of teacher and reference; see `pretrained`.")
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
    dropout: float = Later(
        0.0,
        ge=0,
        lt=1,
        description="Share of an adapter's inputs that an update leaves out; rollouts and evaluations see all.",
    )
    modules_to_save: list[str] = Later(
        default_factory=list, description="Modules that are trained whole beside the adapters, such as lm_head."
    )


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
    """Any Hugging Face causal LM; where `path` holds low-rank adapters, as a training saves them, on their base."""

    kind: Literal["pretrained"] = "pretrained"
    path: str = Field(description="Model directory or hub id.")
    gguf_file: str | None = Field(None, description="File inside `path` to load if the weights are GGUF.")
    revision: str | None = Later(
        None, min_length=1, description="Branch, tag or commit of a hub's model; null: its newest."
    )
    attn_implementation: (
        Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention"] | None
    ) = Later(
        None,
        description="Attention kernels of full passes (cached decoding takes sdpa or eager); null: the model's own.",
    )
    trust_remote_code: bool = Later(
        False, description="Run the code that a model brings. Never asked for, so read it first."
    )
    dtype: Dtype = Field("float32", description="Precision of the weights; auto: bfloat16 where it is computed in.")
    chat_template: bool = Field(
        True, description="Talk through the tokenizer's chat template if it has one; false: plain text."
    )
    lora: Lora | None = Field(None, description="Train low-rank adapters instead of all weights.")
    recipe: PretrainedRecipe | None = Later(
        None,
        description="Demonstrations that the model learns first, in its own template; what comes out is cached, with "
        "adapters merged. null: the model as it is.",
    )
    system: str | None = Later(None, description="System message before every conversation; null: the template's own.")
    chat_template_kwargs: Settings = Later(
        default_factory=dict,
        description="What the chat template is given beside the messages, such as enable_thinking: false.",
    )
    date: str = Later(
        "2025-01-01",
        description="The day (YYYY-MM-DD) that a chat template reads off the clock, the same whenever a run goes on.",
    )
    thoughts: Thoughts | None = Later(
        None,
        description="Budget and marks of thoughts; null: where the template knows of thoughts, they are part of the "
        "action's tokens, and the environment hears what follows them.",
    )
    conversation: Literal["auto", "growing", "per_turn"] = Later(
        "auto",
        description="growing: a turn is appended to what was said; per_turn: each turn is rendered anew and is a "
        "training sequence of its own; auto: growing where the chat template renders the same ids so.",
    )

    @field_validator("date")
    @classmethod
    def _day(cls, value: str) -> str:
        try:
            datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"needs a day as YYYY-MM-DD, such as 2025-01-01, got {value!r}") from None
        return value

    def made(self, path: str) -> Self:
        """The whole model that was made of this one and lies at `path`: addressed the same."""
        apart = {"gguf_file": None, "revision": None, "lora": None, "recipe": None}
        return self.model_copy(update={"path": path, **apart})


class PretrainedTeacher(Pretrained):
    """Any Hugging Face causal LM, in the precision that suits the device."""

    dtype: Dtype = Field(
        "auto",
        description="Precision of teacher and reference; auto: bfloat16 where the device computes in it, as found at "
        "the start of a training.",
    )


class NoTeacher(Record):
    """Reward only."""

    kind: Literal["none"] = "none"


Student = Annotated[CompactStudent | Pretrained, Field(discriminator="kind")]
Teacher = Annotated[
    CompactTeacher | PretrainedTeacher | ServerTeacher | ChatTeacher | NoTeacher, Field(discriminator="kind")
]
