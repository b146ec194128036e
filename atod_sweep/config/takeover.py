"""Who plays which turn of a training episode, and where it ends, as data. Evaluations are the student's alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, create_model, model_validator

from atod_sweep.config.base import Record
from atod_sweep.config.schedules import ClosedFormSchedule, Linear, OfProgress
from atod_sweep.config.signals import OverVocabulary, Relabel
from atod_sweep.config.teachers import Served
from atod_sweep.config.turns import TurnProfile, Uniform

if TYPE_CHECKING:
    from atod_sweep.config.train import Train

TeacherTurns = Literal["cross_entropy", "forward_kl", "masked"]


class Takeover(Record):
    """Turns that the teacher plays in the student's episodes, drawn one by one (Guided-OPD, arXiv 2606.15912)."""

    probability: ClosedFormSchedule = Field(
        default_factory=lambda: Linear(start=0.8, end=0.0), description="Chance that it plays a turn, by step."
    )
    turns: TurnProfile = Field(
        default_factory=Uniform, description="Factor on that chance over turns, in [0, 1]; none from log-probs."
    )

    @model_validator(mode="after")
    def _chances(self) -> Takeover:
        _check_bounds("probability", self.probability, "from 0 to 1", self.probability.extremes()[0] >= 0.0)
        if self.turns.measured:
            raise ValueError(
                f"turns.kind: {self.turns.kind!r} weighs by log-probs, which are not there before a turn is played; "
                "use uniform, thresholds or a custom f(turn, horizon)"
            )
        return self


class _Depth(Record):
    """How many turns the student plays (TCOD, arXiv 2604.24005): the first ones, or those behind the teacher's.

    From the start, the episode ends there, and where it does, no rollout of its task has a reward. From the end, the
    teacher plays the turns before the horizon's last ones.
    """

    share: ClosedFormSchedule = Field(
        default_factory=lambda: Linear(start=0.25, end=1.0),
        description="Turns that the student may play, by step, as a share of the horizon in (0, 1]; rounded up.",
    )

    @property
    def begins_at_start(self) -> bool:
        """Whether the student plays the first turns, and not the last ones."""
        return bool(getattr(self, "from") == "start")  # a word that Python keeps for itself

    def turns(self, share: float, horizon: int) -> int:
        """Turns that the student may play at a share of the horizon.

        >>> [Depth().turns(share, horizon=8) for share in (0.01, 0.25, 0.26, 1.0)]
        [1, 2, 3, 8]
        """
        return min(horizon, math.ceil(share * horizon - 1e-9))

    @model_validator(mode="after")
    def _some_turns(self) -> _Depth:
        _check_bounds("share", self.share, "above 0 and at most 1", self.share.extremes()[0] > 0.0)
        return self


if TYPE_CHECKING:

    class Depth(_Depth): ...
else:
    Depth = create_model(
        "Depth",
        __base__=_Depth,
        __doc__=_Depth.__doc__,
        **{
            "from": (
                Literal["start", "end"],
                Field("start", description="start: the student plays the first turns; end: the last ones."),
            )
        },
    )


def _check_bounds(name: str, schedule: OfProgress, bounds: str, holds_below: bool) -> None:
    low, high = schedule.extremes()
    if not holds_below or high > 1:
        raise ValueError(f"{name}: must be {bounds} at every step, got {high if high > 1 else low}")


def check(train: Train) -> None:
    """ValueError for takeover or depth under a config that they have no meaning for."""
    rollout, objective = train.rollout, train.objective
    given = [key for key in ("takeover", "depth") if getattr(rollout, key) is not None]
    plays = rollout.teacher_plays
    if given and not hasattr(objective, "distill_weight"):
        raise ValueError(
            f"rollout.{given[0]}: is for objectives that learn from the student's own episodes, and {objective.kind!r} "
            "does not; use interpolated or hybrid, or drop it"
        )
    if plays and train.teacher.kind == "none":
        raise ValueError(f"rollout.{given[0]}: lets the teacher play, and teacher.kind is 'none'; name a teacher")
    if plays and (null := getattr(objective, "stand_in", None)) is not None:
        raise ValueError(
            f"rollout.{given[0]}: lets the teacher play, in whose place objective.stand_in has {null.kind!r}; drop one"
        )
    if not plays and rollout.teacher_turns != "cross_entropy":
        raise ValueError(
            f"rollout.teacher_turns: {rollout.teacher_turns!r}, but the teacher plays no turns; add rollout.takeover, "
            "or rollout.depth with from: end"
        )
    signal = getattr(objective, "distill", None)
    asked = isinstance(signal, OverVocabulary) or not (isinstance(signal, Relabel) or isinstance(train.teacher, Served))
    if plays and rollout.teacher_turns == "forward_kl" and not asked:
        raise ValueError(
            f"rollout.teacher_turns: 'forward_kl' compares distributions, which teacher.kind {train.teacher.kind!r} is "
            "not asked for with this objective.distill.kind; use cross_entropy"
        )
    if rollout.takeover is not None:
        rollout.takeover.turns.check(train.env.horizon, "rollout.takeover.turns")
