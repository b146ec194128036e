"""What students are rewarded for, where it is not what the environment pays: a stand-in for it, which can be gamed.

The environment's own reward and success are evaluated whatever is trained on; the stand-in is `eval/proxy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from atod_sweep.config.base import Record, Seed
from atod_sweep.config.custom import Custom
from atod_sweep.config.schedules import ClosedFormSchedule, Constant


class EnvReward(Record):
    """What the environment pays."""

    kind: Literal["env"] = "env"


class FunctionReward(Custom):
    """A function of yours over the whole conversation: a list of {"role": …, "content": …} -> a number."""

    on_tensors: ClassVar[bool] = False
    kind: Literal["function"] = "function"
    timeout: float = Field(60.0, gt=0, description="Seconds that one call may take.")

    @classmethod
    def called_with(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        return ("conversation",)


class ModelReward(Record):
    """A Hugging Face sequence-classification model that reads the conversation."""

    kind: Literal["model"] = "model"
    path: str = Field(description="Model directory or hub id.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub's model; null: its newest.")
    label: int | None = Field(
        None, ge=0, description="Label whose log-odds are the reward; null: the one number that the model gives."
    )
    batch: int = Field(32, ge=1, description="Conversations per pass.")


class PreferenceReward(Record):
    """A small classifier that is trained here, and cached: on which of two episodes of a task a rater prefers."""

    kind: Literal["preferences"] = "preferences"
    taste: dict[str, float] = Field(
        default={"success": 1.0},
        min_length=1,
        description="What raters see -> how much they like it: success, reward, turns, or the environment's metrics.",
    )
    noise: float = Field(0.1, ge=0, lt=0.5, description="Share of the pairs in which the rater errs.")
    pairs: int = Field(4096, ge=64, description="Pairs of episodes to learn from.")
    epochs: int = Field(4, ge=1, description="Passes over them.")
    hidden: int = Field(32, ge=8, multiple_of=4, description="Width of the classifier, which has two blocks.")
    lr: float = Field(2e-3, gt=0, description="AdamW learning rate.")
    seed: Seed = Field(0, description="Seed of episodes, errors and initialisation.")
    batch: int = Field(256, ge=1, description="Conversations per pass.")


class ViolationReward(Record):
    """Minus the number of rules that were broken in the episode, of environments that count them."""

    kind: Literal["violations"] = "violations"


Single = EnvReward | FunctionReward | ModelReward | PreferenceReward | ViolationReward
Source = Annotated[Single, Field(discriminator="kind")]


class Part(Record):
    """One reward of a mix."""

    reward: Source = Field(description="What is rewarded.")
    weight: ClosedFormSchedule = Field(
        default_factory=lambda: Constant(start=1.0),
        description="How much: a number, which may be negative, or a schedule.",
    )


class MixReward(Record):
    """A weighted sum of rewards."""

    kind: Literal["mix"] = "mix"
    parts: list[Part] = Field(min_length=1, description="The rewards and their weights.")


Reward = Annotated[Single | MixReward, Field(discriminator="kind")]


def parts_of(reward: Reward) -> list[Part]:
    """The rewards of a mix; another one as a mix of its own."""
    return reward.parts if isinstance(reward, MixReward) else [Part(reward=reward)]
