"""What the student learns from: the mix of teacher and reward, over training and over turns (see `objective/`)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from atod_sweep.config.base import Later, Record
from atod_sweep.config.penalties import KLPenalty, NoKL, check_weight
from atod_sweep.config.schedules import ClosedFormSchedule, Cosine, Linear, OfMeasurement, OfProgress, Schedule
from atod_sweep.config.signals import Distill, ForwardKL, SampledReverseKL
from atod_sweep.config.stand_ins import StandIn
from atod_sweep.config.turns import TurnProfile, Uniform

if TYPE_CHECKING:
    from atod_sweep.config.train import Train

# ---- reward signals ----------------------------------------------------------------------------------------------
# `per_step`: whether it takes a reward per step, of which a KL penalty can be taken off. `least_group`: the rollouts of
# one task that it needs.


class GroupRelative(Record):
    """(r - mean) / (std + 1e-4) over the G rollouts of one task; needs no value head."""

    per_step: ClassVar[bool] = False
    least_group: ClassVar[int] = 2
    kind: Literal["group_relative"] = "group_relative"


class GAE(Record):
    """PPO with a value head on the student's backbone and generalised advantage estimation."""

    per_step: ClassVar[bool] = True
    least_group: ClassVar[int] = 1
    kind: Literal["gae"] = "gae"
    level: Literal["turn", "token"] = Field("turn", description="What one step of the estimator is.")
    gamma: float = Field(1.0, gt=0, le=1, description="Discount per step of the estimator.")
    lam: float = Field(0.95, ge=0, le=1, description="GAE lambda per step of the estimator.")
    value_coef: float = Field(0.5, ge=0, description="Weight c_v of the value loss.")
    value_clip: float = Field(0.2, gt=0, description="Clip range of the value loss around the old value.")
    whiten: bool = Field(True, description="Scale advantages to mean 0 and variance 1 over the batch.")


Advantage = Annotated[GroupRelative | GAE, Field(discriminator="kind")]

# ---- the objectives ----------------------------------------------------------------------------------------------


class _Objective(Record):
    @property
    @abstractmethod
    def taught(self) -> bool:
        """Whether the teacher is ever asked anything."""

    @abstractmethod
    def check(self, train: Train) -> None:
        """Raise ValueError for a trainer config that this objective cannot run under."""


class Mixture(_Objective):
    """Teacher and reward on the student's own episodes, each with its weight: what has a schedule to search and export.

    The weights of the two forms of the method differ; everything else they share.
    """

    distill_weight: Schedule = Field(
        default_factory=Cosine,
        description="Teacher's weight over training: lambda_time (interpolated) or kappa (hybrid).",
    )
    turns: TurnProfile = Field(default_factory=Uniform, description="Teacher's weight over turns, g(k).")
    kl_penalty: KLPenalty = Field(default_factory=NoKL, description="Penalty against the frozen initial student.")
    entropy_coef: float = Field(0.0, ge=0, description="Weight c_e of the entropy bonus.")
    clip_ratio: float = Field(0.2, gt=0, description="PPO clip range of the probability ratio.")
    stand_in: StandIn | None = Later(
        None,
        description="What takes the place of the teacher's word, to see what that is worth; null: the teacher speaks.",
    )

    @property
    def asks_teacher(self) -> bool:
        """Whether what students say is shown to a teacher, if it has a weight."""
        return self.stand_in is None or self.stand_in.scores

    @property
    def taught(self) -> bool:
        """Whether the teacher has a weight above 0 at any time."""
        return not is_always(0.0, self.distill_weight)

    @property
    @abstractmethod
    def rewarded(self) -> bool:
        """Whether the reward has a weight above 0 at any time."""

    def _check_mixture(self, train: Train, advantage: Advantage, otherwise: str) -> None:
        self.turns.check(train.env.horizon, "objective.turns")
        group = train.rollout.group_size
        if group < advantage.least_group:
            raise ValueError(
                f"rollout.group_size: a group-relative advantage needs at least {advantage.least_group} rollouts per "
                f"task, got {group}; use 8{otherwise}"
            )
        follows = self.turns.measured or isinstance(self.distill_weight, OfMeasurement)
        if self.stand_in is not None and not self.stand_in.scores and follows:
            raise ValueError(
                f"objective.stand_in.kind: {self.stand_in.kind!r} asks no teacher, whose log-probs objective.turns "
                f"({self.turns.kind}) or distill_weight ({self.distill_weight.kind}) follow; use turns.kind: uniform "
                "and a distill_weight by step"
            )
        if train.teacher.kind == "none" and self.asks_teacher and not is_always(0.0, self.distill_weight):
            raise ValueError(
                "teacher.kind: 'none' leaves nothing to distil, but objective.distill_weight is not 0; "
                "set objective.distill_weight: 0"
            )


def is_always(value: float, schedule: OfProgress | OfMeasurement) -> bool:
    return schedule.extremes() == (value, value)


class Interpolated(Mixture):
    """L = lambda L_distill + (1 - lambda) L_RL + beta_kl KL + c_v L_value - c_e H; lambda = lambda_time(p) g(k)."""

    kind: Literal["interpolated"] = "interpolated"
    distill: Distill = Field(default_factory=ForwardKL, description="The distillation term.")
    advantage: Advantage = Field(default_factory=GroupRelative, description="The reward term's advantage.")

    reward_weight: ClassVar[None] = None  # it is 1 minus the teacher's

    @property
    def rewarded(self) -> bool:
        return not (is_always(1.0, self.distill_weight) and self.turns.is_one())

    @model_validator(mode="after")
    def _meaningful(self) -> Interpolated:
        check_weight("distill_weight", self.distill_weight, most=1.0)
        if self.kl_penalty.in_reward and not self.advantage.per_step:
            raise ValueError(
                f"kl_penalty.kind: {self.kl_penalty.kind!r} goes into per-step rewards and needs advantage.kind: gae, "
                f"got {self.advantage.kind!r}; use k2 (in the loss) instead"
            )
        return self

    def check(self, train: Train) -> None:
        self._check_mixture(train, self.advantage, ", or objective.advantage.kind: gae")


class Hybrid(Mixture):
    """A_t = kappa(s) w_k (log p_T - log p_theta) + rho(s) A_i, one clipped surrogate (arXiv 2606.27814)."""

    kind: Literal["hybrid"] = "hybrid"
    reward_weight: ClosedFormSchedule = Field(
        default_factory=lambda: Linear(start=1.0, end=2.0), description="Weight rho(s) of the group-relative advantage."
    )

    @property
    def distill(self) -> SampledReverseKL:
        """Its distillation term is the advantage of the sampled tokens."""
        return SampledReverseKL()

    @property
    def advantage(self) -> GroupRelative:
        return GroupRelative()

    @property
    def rewarded(self) -> bool:
        return not is_always(0.0, self.reward_weight)

    @model_validator(mode="after")
    def _meaningful(self) -> Hybrid:
        check_weight("distill_weight", self.distill_weight)
        check_weight("reward_weight", self.reward_weight)
        if self.kl_penalty.in_reward:
            raise ValueError(
                f"kl_penalty.kind: {self.kl_penalty.kind!r} needs per-step rewards (kind: interpolated, "
                "advantage.kind: gae), and in the loss its expected gradient is zero; use k2"
            )
        return self

    def check(self, train: Train) -> None:
        self._check_mixture(train, self.advantage, "")


class _Baseline(_Objective):
    one_step: ClassVar[bool] = True  # per batch
    kind: str

    def check(self, train: Train) -> None:
        update = train.update
        if self.taught and train.teacher.kind == "none":
            raise ValueError(f"teacher.kind: objective {self.kind!r} learns from teacher episodes, got 'none'")
        if self.one_step and (update.epochs, update.minibatches) != (1, 1):
            raise ValueError(
                f"update: {self.kind} takes one optimiser step per batch, got epochs {update.epochs} and minibatches "
                f"{update.minibatches}; set both to 1"
            )
        if update.target_kl is not None:
            raise ValueError(
                f"update.target_kl: has no meaning for {self.kind}, got {update.target_kl}; set it to null"
            )


class SFT(_Baseline):
    """Baseline: cross-entropy on the teacher's own episodes, no reward."""

    taught: ClassVar[bool] = True
    one_step: ClassVar[bool] = False
    kind: Literal["sft"] = "sft"


class DPO(_Baseline):
    """Baseline: direct preference optimisation on the student's own better and worse episode of one task."""

    taught: ClassVar[bool] = False
    kind: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0, description="Inverse temperature of the implicit reward.")

    def check(self, train: Train) -> None:
        if train.rollout.group_size < 2:
            raise ValueError(
                f"rollout.group_size: dpo pairs rollouts of one task, needs 2, got {train.rollout.group_size}"
            )
        super().check(train)


class SPIN(_Baseline):
    """Baseline: teacher episodes preferred to the student's own on the same task, reference renewed at intervals."""

    taught: ClassVar[bool] = True
    kind: Literal["spin"] = "spin"
    beta: float = Field(0.1, gt=0, description="Inverse temperature of the implicit reward.")
    refresh_steps: int = Field(50, ge=1, description="Optimiser steps between renewals of the opponent (an iteration).")


Mixed = Annotated[Interpolated | Hybrid, Field(discriminator="kind")]
Objective = Annotated[Interpolated | Hybrid | SFT | DPO | SPIN, Field(discriminator="kind")]
