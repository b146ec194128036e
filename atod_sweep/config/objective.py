"""What the student learns from: the mix of teacher and reward, over training and over turns (see `objective/`)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from atod_sweep.config.base import Record
from atod_sweep.config.schedules import (
    Adaptive,
    ClosedForm,
    ClosedFormSchedule,
    Constant,
    Cosine,
    Linear,
    OfMeasurement,
    OfProgress,
    Schedule,
    number_is_constant,
)
from atod_sweep.config.turns import TurnProfile, Uniform

# ---- distillation signals ----------------------------------------------------------------------------------------


class SampledReverseKL(Record):
    """Policy gradient on log p_teacher - log p_student of the sampled token."""

    kind: Literal["sampled_reverse_kl"] = "sampled_reverse_kl"


class _FullDistribution(Record):
    temperature: float = Field(1.0, gt=0, description="Distillation temperature of both distributions.")
    top_k: int | None = Field(
        None, ge=1, description="Compare the teacher's k likeliest tokens plus one tail mass; null: whole vocabulary."
    )


class ForwardKL(_FullDistribution):
    """KL(teacher || student): mass-covering."""

    kind: Literal["forward_kl"] = "forward_kl"


class ReverseKL(_FullDistribution):
    """KL(student || teacher): mode-seeking."""

    kind: Literal["reverse_kl"] = "reverse_kl"


class JSD(_FullDistribution):
    """Generalised Jensen-Shannon divergence: beta KL(T || M) + (1 - beta) KL(S || M), M = beta T + (1 - beta) S."""

    kind: Literal["jsd"] = "jsd"
    beta: float = Field(0.5, gt=0, lt=1, description="Teacher's share in the mixture, in (0, 1).")


Distill = Annotated[SampledReverseKL | ForwardKL | ReverseKL | JSD, Field(discriminator="kind")]

# ---- reward signals ----------------------------------------------------------------------------------------------


class GroupRelative(Record):
    """(r - mean) / (std + 1e-4) over the G rollouts of one task; needs no value head."""

    kind: Literal["group_relative"] = "group_relative"


class GAE(Record):
    """PPO with a value head on the student's backbone and generalised advantage estimation."""

    kind: Literal["gae"] = "gae"
    level: Literal["turn", "token"] = Field("turn", description="What one step of the estimator is.")
    gamma: float = Field(1.0, gt=0, le=1, description="Discount per step of the estimator.")
    lam: float = Field(0.95, ge=0, le=1, description="GAE lambda per step of the estimator.")
    value_coef: float = Field(0.5, ge=0, description="Weight c_v of the value loss.")
    value_clip: float = Field(0.2, gt=0, description="Clip range of the value loss around the old value.")
    whiten: bool = Field(True, description="Scale advantages to mean 0 and variance 1 over the batch.")


Advantage = Annotated[GroupRelative | GAE, Field(discriminator="kind")]

# ---- KL penalty against the frozen initial student ----------------------------------------------------------------


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


def _check_weight(name: str, schedule: OfProgress | OfMeasurement, most: float = math.inf) -> None:
    low, high = schedule.extremes()
    if low < 0 or high > most:
        bounds = "at least 0" if math.isinf(most) else f"from 0 to {most:g}"
        raise ValueError(f"{name}: must be {bounds} at every step, got {low if low < 0 else high}")


class NoKL(Record):
    """No penalty: the reference model is not even loaded."""

    kind: Literal["none"] = "none"


class _KLPenalty(Record):
    coef: Coefficient = Field(
        default_factory=lambda: Constant(start=0.01), description="Coefficient beta_kl: a number or a schedule."
    )

    @model_validator(mode="after")
    def _not_negative(self) -> _KLPenalty:
        _check_weight("coef", self.coef)
        return self


class K1(_KLPenalty):
    """log p_theta - log p_ref on sampled tokens, in the reward (in the loss its expected gradient is zero)."""

    kind: Literal["k1"] = "k1"


class K2(_KLPenalty):
    """(log p_theta - log p_ref)^2 / 2 on sampled tokens, in the loss: the gradient of the reverse KL."""

    kind: Literal["k2"] = "k2"


class K3(_KLPenalty):
    """exp(d) - 1 - d with d = log p_ref - log p_theta on sampled tokens, in the loss."""

    kind: Literal["k3"] = "k3"


class FullKL(_KLPenalty):
    """KL(p_theta || p_ref) over the whole vocabulary, in the loss."""

    kind: Literal["full"] = "full"


KLPenalty = Annotated[NoKL | K1 | K2 | K3 | FullKL, Field(discriminator="kind")]

# ---- the objectives ----------------------------------------------------------------------------------------------


class _Mixed(Record):
    distill_weight: Schedule = Field(
        default_factory=Cosine,
        description="Teacher's weight over training: lambda_time (interpolated) or kappa (hybrid).",
    )
    turns: TurnProfile = Field(default_factory=Uniform, description="Teacher's weight over turns, g(k).")
    kl_penalty: KLPenalty = Field(default_factory=NoKL, description="Penalty against the frozen initial student.")
    entropy_coef: float = Field(0.0, ge=0, description="Weight c_e of the entropy bonus.")
    clip_ratio: float = Field(0.2, gt=0, description="PPO clip range of the probability ratio.")


class Interpolated(_Mixed):
    """L = lambda L_distill + (1 - lambda) L_RL + beta_kl KL + c_v L_value - c_e H; lambda = lambda_time(p) g(k)."""

    kind: Literal["interpolated"] = "interpolated"
    distill: Distill = Field(default_factory=ForwardKL, description="The distillation term.")
    advantage: Advantage = Field(default_factory=GroupRelative, description="The reward term's advantage.")

    @model_validator(mode="after")
    def _meaningful(self) -> Interpolated:
        _check_weight("distill_weight", self.distill_weight, most=1.0)
        if self.kl_penalty.kind == "k1" and self.advantage.kind != "gae":
            raise ValueError(
                "kl_penalty.kind: 'k1' goes into per-step rewards and needs advantage.kind: gae, "
                f"got {self.advantage.kind!r}; use k2 (in the loss) instead"
            )
        return self


class Hybrid(_Mixed):
    """A_t = kappa(s) w_k (log p_T - log p_theta) + rho(s) A_i, one clipped surrogate (arXiv 2606.27814)."""

    kind: Literal["hybrid"] = "hybrid"
    reward_weight: ClosedFormSchedule = Field(
        default_factory=lambda: Linear(start=1.0, end=2.0), description="Weight rho(s) of the group-relative advantage."
    )

    @model_validator(mode="after")
    def _meaningful(self) -> Hybrid:
        _check_weight("distill_weight", self.distill_weight)
        _check_weight("reward_weight", self.reward_weight)
        if self.kl_penalty.kind == "k1":
            raise ValueError(
                "kl_penalty.kind: 'k1' needs per-step rewards (kind: interpolated, advantage.kind: gae), and in the "
                "loss its expected gradient is zero; use k2"
            )
        return self


class SFT(Record):
    """Baseline: cross-entropy on the teacher's own episodes, no reward."""

    kind: Literal["sft"] = "sft"


class DPO(Record):
    """Baseline: direct preference optimisation on the student's own better and worse episode of one task."""

    kind: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0, description="Inverse temperature of the implicit reward.")


class SPIN(Record):
    """Baseline: teacher episodes preferred to the student's own on the same task, reference renewed at intervals."""

    kind: Literal["spin"] = "spin"
    beta: float = Field(0.1, gt=0, description="Inverse temperature of the implicit reward.")
    refresh_steps: int = Field(50, ge=1, description="Optimiser steps between renewals of the opponent (an iteration).")


Objective = Annotated[Interpolated | Hybrid | SFT | DPO | SPIN, Field(discriminator="kind")]
