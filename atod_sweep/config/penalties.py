"""KL penalties against the frozen initial student, and their coefficients (see `objective/penalties`)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from atod_sweep.config.base import Record
from atod_sweep.config.schedules import Adaptive, ClosedForm, Constant, OfMeasurement, OfProgress, number_is_constant


class TargetKL(OfMeasurement):
    """A coefficient that is raised while the measured KL is above `target` and lowered while it is below."""

    kind: Literal["target_kl"] = "target_kl"
    start: float = Field(0.01, gt=0, description="Coefficient at step 0.")
    target: float = Field(0.05, gt=0, description="KL to the initial student to hold, in nats per generated token.")
    rate: float = Field(0.1, gt=0, le=1, description="Largest relative change of the coefficient per step.")

    def extremes(self) -> tuple[float, float]:
        return 0.0, math.inf


Controlled = Adaptive | TargetKL  # what has a controller

Coefficient = Annotated[ClosedForm | TargetKL, Field(discriminator="kind"), BeforeValidator(number_is_constant)]


def check_weight(name: str, schedule: OfProgress | OfMeasurement, most: float = math.inf) -> None:
    """ValueError for a schedule that leaves the range from 0 to `most`."""
    low, high = schedule.extremes()
    if low < 0 or high > most:
        bounds = "at least 0" if math.isinf(most) else f"from 0 to {most:g}"
        raise ValueError(f"{name}: must be {bounds} at every step, got {low if low < 0 else high}")


class NoKL(Record):
    """No penalty: the reference model is not even loaded."""

    in_reward: ClassVar[bool] = False
    kind: Literal["none"] = "none"


class WithReference(Record):
    """A penalty on the distance from the initial student. `in_reward`: taken off each step's reward; or in the loss."""

    in_reward: ClassVar[bool] = False
    coef: Coefficient = Field(
        default_factory=lambda: Constant(start=0.01), description="Coefficient beta_kl: a number or a schedule."
    )

    @model_validator(mode="after")
    def _not_negative(self) -> WithReference:
        check_weight("coef", self.coef)
        return self


class K1(WithReference):
    """log p_theta - log p_ref on sampled tokens, in the reward (in the loss its expected gradient is zero)."""

    in_reward: ClassVar[bool] = True
    kind: Literal["k1"] = "k1"


class K2(WithReference):
    """(log p_theta - log p_ref)^2 / 2 on sampled tokens, in the loss: the gradient of the reverse KL."""

    kind: Literal["k2"] = "k2"


class K3(WithReference):
    """exp(d) - 1 - d with d = log p_ref - log p_theta on sampled tokens, in the loss."""

    kind: Literal["k3"] = "k3"


class FullKL(WithReference):
    """KL(p_theta || p_ref) over the whole vocabulary, in the loss."""

    kind: Literal["full"] = "full"


KLPenalty = Annotated[NoKL | K1 | K2 | K3 | FullKL, Field(discriminator="kind")]
