"""schedule.yaml: the part of a trial's config that another trainer needs, in a versioned schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from atod_sweep.config.base import Later, Record, dump_yaml, load_yaml, validate
from atod_sweep.config.custom import check_sources
from atod_sweep.config.files import load_train
from atod_sweep.config.objective import Mixed, Mixture
from atod_sweep.config.penalties import Controlled, TargetKL, WithReference
from atod_sweep.config.schedules import ClosedForm, ClosedFormSchedule, Constant, OfMeasurement, OfProgress
from atod_sweep.config.takeover import Depth, Takeover, TeacherTurns
from atod_sweep.config.train import Train
from atod_sweep.config.turns import OverTurns, TurnProfile, Uniform
from atod_sweep.errors import UserError

FILE_NAME = "schedule.yaml"


class ScheduleFile(Record):
    """A schedule with the run length and horizon that its absolute steps and turns belong to."""

    format: Literal["atod-sweep/schedule/1"] = Field("atod-sweep/schedule/1", description="Schema and its version.")
    study: str = Field("", description="Study that it comes from.")
    arm: str = Field("", description="Arm of that study.")
    steps: int = Field(ge=1, description="Optimiser steps S of the run.")
    horizon: int = Field(ge=1, description="Longest episode, in turns.")
    objective: Mixed = Field(description="Objective with its weights over training and over turns.")
    temperature: ClosedFormSchedule = Field(
        default_factory=lambda: Constant(start=1.0), description="Sampling temperature of the rollouts."
    )
    takeover: Takeover | None = Later(None, description="Turns that the teacher plays.")
    depth: Depth | None = Later(None, description="How many turns the student plays.")
    teacher_turns: TeacherTurns = Later("cross_entropy", description="What is learned from the teacher's turns.")

    @property
    def reward_weight(self) -> ClosedForm | None:
        """Schedule of the reward's weight; None where it is 1 minus the teacher's."""
        return self.objective.reward_weight

    @property
    def beta_kl(self) -> ClosedForm | TargetKL:
        """Schedule of the KL penalty's coefficient; constant 0 without a penalty."""
        penalty = self.objective.kl_penalty
        return penalty.coef if isinstance(penalty, WithReference) else Constant(start=0.0)

    @property
    def scheduled(self) -> tuple[ClosedForm | Controlled | None, ...]:
        """All schedules in it."""
        return (self.objective.distill_weight, self.reward_weight, self.beta_kl, self.temperature)

    @property
    def measured(self) -> tuple[str, ...]:
        """Parts that are no function of step and turn: of "distill", "beta_kl", "turns"."""
        parts = {
            "distill": isinstance(self.objective.distill_weight, OfMeasurement),
            "beta_kl": isinstance(self.beta_kl, OfMeasurement),
            "turns": self.objective.turns.measured,
        }
        return tuple(name for name, is_measured in parts.items() if is_measured)

    @property
    def _takeover_turns(self) -> TurnProfile:
        return self.takeover.turns if self.takeover else Uniform()

    def rescaled(self, steps: int, horizon: int) -> ScheduleFile:
        """The same schedule for another run length and horizon: what was absolute keeps its fraction."""

        def to_length(record: BaseModel) -> BaseModel:
            """The record with every schedule and turn profile in it rescaled."""
            if isinstance(record, OfProgress | OfMeasurement):
                return record.rescaled(self.steps, steps)
            if isinstance(record, OverTurns):
                return record.rescaled(self.horizon, horizon)
            fields = {name: getattr(record, name) for name in type(record).model_fields}
            return record.model_copy(
                update={name: to_length(field) for name, field in fields.items() if isinstance(field, BaseModel)}
            )

        scheduled = {name: getattr(self, name) for name in ("objective", "temperature", "takeover", "depth")}
        changed: dict[str, Any] = {name: to_length(record) for name, record in scheduled.items() if record is not None}
        for name, turns in (("objective.turns", self.objective.turns), ("takeover.turns", self._takeover_turns)):
            try:
                turns.rescaled(self.horizon, horizon).check(horizon, name)
            except ValueError as error:
                raise UserError(f"horizon {horizon}: {error}") from None
        changed |= {"steps": steps, "horizon": horizon}
        return validate(ScheduleFile, self.model_copy(update=changed).model_dump(mode="json"), FILE_NAME)


def from_train(config: Train, study: str = "", arm: str = "") -> ScheduleFile:
    """The schedule of a trial's config; UserError for an objective that has none."""
    if not isinstance(config.objective, Mixture):
        remedy = f"what {arm} learned is exported with --model" if arm else "use interpolated or hybrid"
        raise UserError(f"objective.kind: {config.objective.kind!r} has no schedule to export; {remedy}")
    return ScheduleFile(
        study=study,
        arm=arm,
        steps=config.steps,
        horizon=config.env.horizon,
        objective=config.objective,
        temperature=config.rollout.temperature,
        takeover=config.rollout.takeover,
        depth=config.rollout.depth,
        teacher_turns=config.rollout.teacher_turns,
    )


def load(source: Path) -> ScheduleFile:
    """A schedule from a bundle's folder or from a schedule file; UserError otherwise."""
    path = source / FILE_NAME if source.is_dir() else source
    data = load_yaml(path)
    check_sources(data, str(path))
    return validate(ScheduleFile, data, str(path))


def dump(schedule: ScheduleFile) -> str:
    """The YAML text that `load` reads back to the same schedule."""
    return dump_yaml(schedule.model_dump(mode="json"))


def train_overrides(source: Path, steps: int | None = None, horizon: int | None = None) -> dict[str, Any]:
    """Dotted overrides that make any trainer config run this schedule, at another length or horizon if given."""
    schedule = load(source)
    schedule = schedule.rescaled(steps or schedule.steps, horizon or schedule.horizon)
    data = schedule.model_dump(mode="json")
    return {
        "objective": data["objective"],
        "rollout.temperature": data["temperature"],
        "rollout.takeover": data.get("takeover"),
        "rollout.depth": data.get("depth"),
        "rollout.teacher_turns": schedule.teacher_turns,
        "steps": schedule.steps,
        "env.horizon": schedule.horizon,
    }


def load_train_with(source: Path, config: str | Mapping[str, Any], overrides: Mapping[str, Any]) -> Train:
    """A trainer config with the schedule at `source`, rescaled to the length and horizon that `overrides` ask for.

    The schedule goes over the config, and the overrides have the last word.
    """
    carried = train_overrides(source, steps=overrides.get("steps"), horizon=overrides.get("env.horizon"))
    return load_train(load_train(config, carried).model_dump(mode="json"), overrides)
