"""Distillation signals as data: what the student is pulled by. `objective/signals/` turns them into losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from atod_sweep.config.base import Record
from atod_sweep.config.custom import Custom


class OnSampled(Record):
    """A signal that needs the log-probs of the sampled tokens only."""


class OverVocabulary(Record):
    """A signal that compares whole next-token distributions."""

    temperature: float = Field(1.0, gt=0, description="Distillation temperature of both distributions.")
    top_k: int | None = Field(
        None,
        ge=1,
        description="Compare the teacher's k likeliest tokens plus one tail mass; null: whole vocabulary. With a "
        "pretrained model, files that leave it out get 64.",
    )


class SampledReverseKL(OnSampled):
    """Policy gradient on log p_teacher - log p_student of the sampled token."""

    kind: Literal["sampled_reverse_kl"] = "sampled_reverse_kl"


class ForwardKL(OverVocabulary):
    """KL(teacher || student): mass-covering."""

    kind: Literal["forward_kl"] = "forward_kl"


class ReverseKL(OverVocabulary):
    """KL(student || teacher): mode-seeking."""

    kind: Literal["reverse_kl"] = "reverse_kl"


class JSD(OverVocabulary):
    """Generalised Jensen-Shannon divergence: beta KL(T || M) + (1 - beta) KL(S || M), M = beta T + (1 - beta) S."""

    kind: Literal["jsd"] = "jsd"
    beta: float = Field(0.5, gt=0, lt=1, description="Teacher's share in the mixture, in (0, 1).")


class CustomSignal(Custom, OverVocabulary):
    """Your own: f(student_logp_NV, teacher_logp_NV), loss_N with a gradient by the student's log-probs."""

    on_tensors: ClassVar[bool] = True
    kind: Literal["custom"] = "custom"

    @classmethod
    def called_with(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        return ("student_logp_NV", "teacher_logp_NV")


class Relabel(Record):
    """Cross-entropy on what the teacher would have done in the states that the student got into (as in DAgger)."""

    kind: Literal["relabel"] = "relabel"
    ask_temperature: float = Field(
        0.0, ge=0, description="Temperature at which the teacher is asked for its action; 0: the likeliest."
    )


SHIPPED_OVER_VOCABULARY = ("forward_kl", "reverse_kl", "jsd")
Distill = Annotated[
    SampledReverseKL | ForwardKL | ReverseKL | JSD | CustomSignal | Relabel, Field(discriminator="kind")
]
