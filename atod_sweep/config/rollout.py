"""How episodes are sampled, as data: how many, how warm, how long, and what a prompt and an answer look like."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from atod_sweep.config.base import Later, Record
from atod_sweep.config.schedules import ClosedFormSchedule, Constant
from atod_sweep.config.takeover import Depth, Takeover, TeacherTurns

PLACE = "{action}"


class LastSteps(Record):
    """Prompts that remember a few steps."""

    last: int = Field(ge=0, description="Past steps that a prompt shows beside the task.")


History = Annotated[
    Annotated[Literal["all"], Tag("all")] | Annotated[LastSteps, Tag("last")],
    Discriminator(lambda value: "all" if isinstance(value, str) else "last"),
]


class ActionFormat(Record):
    """Answers in which the action is marked; what does not match is heard as an empty action."""

    pattern: str = Field(
        description="An answer with {action} in the place of the action, as <action>{action}</action>."
    )
    penalty: float = Field(
        0.1, ge=0, description="Taken off the reward of a turn in training whose answer has no mark."
    )

    @field_validator("pattern")
    @classmethod
    def _one_place(cls, value: str) -> str:
        if value.count(PLACE) != 1 or not value.replace(PLACE, "").strip():
            raise ValueError(
                f"needs {PLACE} once and a mark around it, such as <action>{PLACE}</action>, got {value!r}"
            )
        return value


class Rollout(Record):
    """How episodes are sampled."""

    elsewhere: ClassVar[dict[str, str]] = dict.fromkeys(
        ("top_k", "top_p", "min_p"),
        "rollouts draw from all tokens, whose log-probs the update compares with; evaluation has this key",
    )

    tasks: int = Field(8, ge=1, description="Different tasks per optimiser step.")
    group_size: int = Field(8, ge=1, description="Rollouts per task (G); group-relative advantages need at least 2.")
    episodes_at_once: int | None = Later(
        None,
        ge=1,
        description="Episodes played at a time, which changes no result; null: all that memory has room for.",
    )
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
    history: History = Later(
        "all",
        description="all: a conversation that grows; {last: k}: every prompt is one message with the task (the first "
        "observation), the last k steps and the observation of now.",
    )
    action: ActionFormat | None = Later(
        None, description="How an action is marked in an answer; null: the whole answer is one."
    )
    admissible: bool = Later(False, description="List the admissible actions behind every observation.")
    takeover: Takeover | None = Later(None, description="Turns that the teacher plays; null: the student plays all.")
    depth: Depth | None = Later(None, description="How many turns the student plays, by step; null: whole episodes.")
    teacher_turns: TeacherTurns = Later(
        "cross_entropy",
        description="What is learned from turns that the teacher played, at its weight there: to say what it said "
        "(cross_entropy), its distributions (forward_kl), or nothing (masked).",
    )
    step_timeout: float | None = Field(
        None,
        gt=0,
        description="Seconds one step of one environment may take before the trial ends; starting a task may take 120 "
        "in any case. Environments run in worker processes then. Null: no limit.",
    )

    @property
    def teacher_plays(self) -> bool:
        """Whether the teacher plays turns of the student's episodes."""
        return self.takeover is not None or (self.depth is not None and not self.depth.begins_at_start)

    @model_validator(mode="after")
    def _samples(self) -> Rollout:
        coldest = self.temperature.extremes()[0]
        if coldest <= 0:
            raise ValueError(
                f"temperature: rollouts are sampled, must be above 0 at every step, got {coldest}; use 1.0"
            )
        return self

    def check_for_compact(self) -> None:
        """ValueError for prompts that take words which only pretrained models have."""
        for key in ("history", "action", "admissible"):
            if (given := getattr(self, key)) != type(self).model_fields[key].default:
                said = given.model_dump() if isinstance(given, Record) else given
                raise ValueError(
                    f"rollout.{key}: {said} is for pretrained models, and a compact one knows the words of its "
                    "environment only; leave it out"
                )
