"""Teachers behind an API, as data: where they are, how they are asked, and what they cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from atod_sweep.config.base import Record
from atod_sweep.config.objective import Hybrid, Interpolated
from atod_sweep.config.price import TokenPrice
from atod_sweep.config.schedules import OfMeasurement
from atod_sweep.config.settings import Settings
from atod_sweep.config.signals import Distill, OverVocabulary, Relabel
from atod_sweep.config.stand_ins import RandomTeacher
from atod_sweep.paths import is_web_address

if TYPE_CHECKING:
    from atod_sweep.config.train import Train

OPENAI_API_KEY = "OPENAI_API_KEY"
LIKELIEST_SERVED = 20  # log-probs that a vLLM server gives of a position, unless it was started with more


class Served(Record):
    """A teacher that answers over HTTP, as an OpenAI-compatible server does."""

    HOW: ClassVar[frozenset[str]] = frozenset(
        {"url", "key_env", "concurrency", "timeout", "patience", "requests_per_minute", "price"}
    )
    """Keys that bear on where and how it is asked, and not on what it answers: a training resumes with others."""

    url: str = Field(description="Where the API begins, such as http://localhost:8000/v1.")
    model: str = Field(min_length=1, description="The model's name there.")
    key_env: str = Field(
        OPENAI_API_KEY,
        description="Name of the environment variable that holds the key, which is written nowhere. OPENAI_API_KEY may "
        "be unset, and then none is sent.",
    )
    concurrency: int = Field(8, ge=1, description="Requests of one trial under way at a time.")
    timeout: float = Field(120.0, gt=0, description="Seconds to wait for an answer before the request is repeated.")
    patience: float = Field(
        900.0, ge=0, description="Seconds for which it may be away before the trial ends as teacher_unreachable."
    )
    requests_per_minute: float | None = Field(None, gt=0, description="Most requests of one trial; null: no limit.")
    price: TokenPrice | None = Field(
        None, description="For the money in the costs of trials; null: they count tokens only."
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        shown = re.sub(r"[^/]*@", "…@", re.split("[?#]", value)[0])  # without what may be a secret
        if not is_web_address(value):
            raise ValueError(f"needs an address such as http://localhost:8000/v1, got {shown!r}")
        parts = urlsplit(value)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                f"{shown!r}: needs an address alone; put the key into the environment variable that key_env names"
            )
        return value.rstrip("/")

    @field_validator("key_env")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch("[A-Z_][A-Z0-9_]*", value):  # not quoted: it may be the key itself
            raise ValueError("needs the name of an environment variable in capitals, never the key itself")
        return value


class ServerTeacher(Served):
    """A server that gives log-probs of a prompt of token ids, and has the student's vocabulary."""

    kind: Literal["server"] = "server"
    api: Literal["vllm", "openai"] = Field(
        "vllm",
        description="How it gives log-probs of prompts: vllm: prompt_logprobs, the likeliest ids beside the sampled "
        "one; openai: echo with logprobs, those of sampled tokens alone.",
    )
    top_k: int = Field(
        LIKELIEST_SERVED,
        ge=1,
        description="The most likeliest ids that the server gives of a position (vLLM: --max-logprobs).",
    )
    batch: int = Field(8, ge=1, description="Sequences per request.")

    def check_scoring(self, distill: Distill, train: Train) -> None:
        """ValueError for a signal that this server's log-probs do not give."""
        if isinstance(distill, Relabel):
            return
        low, high = train.rollout.temperature.extremes()
        if (low, high) != (1.0, 1.0):
            raise ValueError(
                f"rollout.temperature: teacher.kind 'server' gives log-probs at temperature 1 only, got "
                f"{low if low != 1.0 else high:g}; set rollout.temperature: 1.0"
            )
        if not isinstance(distill, OverVocabulary):
            return
        name = f"objective.distill.kind: {distill.kind!r}"
        if self.api == "openai":
            raise ValueError(
                f"{name} compares distributions, and teacher.api 'openai' gives log-probs of sampled tokens alone; "
                "use objective.distill.kind: sampled_reverse_kl, or a server with teacher.api: vllm"
            )
        if distill.temperature != 1.0:
            raise ValueError(
                f"objective.distill.temperature: teacher.kind 'server' gives log-probs at temperature 1 only, got "
                f"{distill.temperature:g}; set it to 1.0"
            )
        if distill.top_k is None or distill.top_k > self.top_k:
            wanted = "the whole vocabulary" if distill.top_k is None else f"the {distill.top_k} likeliest ids"
            raise ValueError(
                f"{name} compares {wanted}, and teacher.kind 'server' gives teacher.top_k: {self.top_k} of a position; "
                f"set objective.distill.top_k: {self.top_k}, or use objective.distill.kind: sampled_reverse_kl"
            )


class ChatTeacher(Served):
    """A chat API of any vocabulary: it gives text, and no log-probs of what others said."""

    kind: Literal["chat"] = "chat"
    system: str = Field(
        "You act in a text environment. Answer with your next action alone, in the form that the environment asks for.",
        description="System message before every conversation; empty: none.",
    )
    options: Settings = Field(
        default_factory=dict,
        description="Further fields of every request, over its own: reasoning_effort: low, or max_tokens: null to "
        "leave that out.",
    )

    @model_validator(mode="after")
    def _ours(self) -> ChatTeacher:
        if taken := sorted({"messages", "model", "stream", "n"} & self.options.keys()):
            raise ValueError(f"options: {taken[0]!r} is set by every request itself; leave it out")
        return self

    def check_scoring(self, distill: Distill, train: Train) -> None:
        """ValueError for a signal that compares probabilities."""
        if not isinstance(distill, Relabel):
            raise ValueError(
                f"objective: teacher.kind 'chat' gives text and no log-probs, which {distill.kind!r} compares; use "
                "objective.kind: interpolated with objective.distill.kind: relabel, or objective.kind: sft"
            )


ServedTeacher = Annotated[ServerTeacher | ChatTeacher, Field(discriminator="kind")]


# ---- what is asked of them -------------------------------------------------------------------------------------------


def check(train: Train) -> None:
    """ValueError for an objective that asks a teacher behind an API for more than it gives, or relabelling for what it
    does not know."""
    objective = train.objective
    if not isinstance(objective, Interpolated | Hybrid) or not objective.taught:
        return
    if isinstance(train.teacher, Served):
        if isinstance(objective.stand_in, RandomTeacher):
            raise ValueError(
                f"objective.stand_in.kind: 'random_teacher' needs the teacher's architecture, which teacher.kind "
                f"{train.teacher.kind!r} does not give; use shuffled_teacher or constant_push"
            )
        if objective.asks_teacher:
            train.teacher.check_scoring(objective.distill, train)
    if isinstance(objective.distill, Relabel):
        _check_relabel(objective)


def _check_relabel(objective: Interpolated | Hybrid) -> None:
    """Imitation compares no log-probs of what the student said, so nothing can follow them."""
    asked = "the teacher's log-probs, which objective.distill.kind 'relabel' does not ask for"
    null, turns, weight = objective.stand_in, objective.turns, objective.distill_weight
    if null is not None:
        raise ValueError(f"objective.stand_in.kind: {null.kind!r} takes the place of {asked}; use another signal")
    if turns.measured:
        raise ValueError(f"objective.turns.kind: {turns.kind!r} is made of {asked}; use uniform or thresholds")
    if isinstance(weight, OfMeasurement):
        raise ValueError(
            f"objective.distill_weight.kind: {weight.kind!r} follows {asked}; use a schedule, such as linear"
        )
