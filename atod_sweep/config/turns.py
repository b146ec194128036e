"""Turn profiles as data: how the teacher's weight depends on the turn. `objective/profiles/` turns them into numbers.

A profile has a closed form g(k), known before training, and may have weights from the log-probs of each trajectory on
top (`measured`). The latter multiply the distillation term only: the reward keeps what g(k) leaves it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from atod_sweep.config.base import Record
from atod_sweep.config.custom import Custom


class OverTurns(Record):
    """A turn profile. Its numbers that are counted in turns are called `..._turns`: an export rescales those."""

    @property
    @abstractmethod
    def by_turn(self) -> bool:
        """Whether g(k) differs from turn to turn."""

    @property
    @abstractmethod
    def measured(self) -> bool:
        """Whether weights from log-probs come on top of g(k)."""

    @abstractmethod
    def is_one(self) -> bool:
        """Whether g(k) is 1 on every turn, whatever comes on top: then no turn has a share of the reward in it."""

    def decays(self) -> tuple[str, ...]:
        """Kinds of decay shapes that g(k) is made of."""
        return ()

    def check(self, horizon: int, where: str) -> None:
        """Raise ValueError if the profile does not fit into episodes of `horizon` turns."""

    def rescaled(self, old: int, new: int) -> Self:
        """The same for a horizon of `new` turns in the place of `old`; numbers that are fractions already stay."""
        return self


class Uniform(OverTurns):
    """Every turn has the same weight."""

    by_turn: ClassVar[bool] = False
    measured: ClassVar[bool] = False
    kind: Literal["uniform"] = "uniform"
    value: float = Field(1.0, ge=0, le=1, description="Weight of every turn, in [0, 1].")

    def is_one(self) -> bool:
        return self.value == 1.0


def bounds(
    horizon: float, early_turns: float | None, early_fraction: float, late_turns: float | None, late_fraction: float
) -> tuple[float, float]:
    """(end of the early part, start of the late part) in turns; a part's turns go before its fraction.

    >>> bounds(10, early_turns=2, early_fraction=0.5, late_turns=None, late_fraction=0.8)
    (2.0, 8.0)
    """
    early_end = early_fraction * horizon if early_turns is None else float(early_turns)
    late_start = late_fraction * horizon if late_turns is None else float(horizon - late_turns)
    return early_end, late_start


class _Thresholds(OverTurns):
    by_turn: ClassVar[bool] = True
    early: float = Field(0.9, ge=0, le=1, description="Weight of the early turns, in [0, 1].")
    late: float = Field(0.1, ge=0, le=1, description="Weight of the late turns, in [0, 1].")
    early_turns: int | None = Field(
        None, ge=0, description="Number of leading turns at `early`; takes the place of early_fraction."
    )
    early_fraction: float = Field(0.2, ge=0, le=1, description="Leading part of the horizon at `early`, in [0, 1].")
    late_turns: int | None = Field(
        None, ge=0, description="Number of trailing turns of the horizon at `late`; takes the place of late_fraction."
    )
    late_fraction: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Point of the horizon from which turns are `late`, in [0, 1], after early_fraction.",
    )
    shape: Literal["linear", "cosine", "exponential", "step"] = Field(
        "linear",
        description="Decay from `early` to `late` between the two thresholds (step: early up to late's start).",
    )

    def is_one(self) -> bool:
        return self.early == self.late == 1.0

    def decays(self) -> tuple[str, ...]:
        return () if self.shape == "step" else (self.shape,)

    def bounds(self, horizon: int) -> tuple[float, float]:
        """(end of the early part, start of the late part) in turns, for episodes of `horizon` turns."""
        return bounds(horizon, self.early_turns, self.early_fraction, self.late_turns, self.late_fraction)

    def check(self, horizon: int, where: str) -> None:
        """Raise ValueError if the thresholds do not fit into `horizon` turns in order."""
        for name in ("early_turns", "late_turns"):
            turns = getattr(self, name)
            if turns is not None and turns > horizon:
                raise ValueError(
                    f"{where}.{name}: {turns} turns lie beyond the horizon of {horizon}; use at most {horizon}, "
                    f"or {name.replace('turns', 'fraction')}"
                )
        early, late = self.bounds(horizon)
        if late < early:
            raise ValueError(
                f"{where}: the late part starts at turn {late:g}, before the early part ends at {early:g} "
                f"(horizon {horizon}); shorten the early or the late part"
            )

    def rescaled(self, old: int, new: int) -> Self:
        """Whole turns stay whole where they can."""
        update: dict[str, Any] = {}
        for end, count in (("early", self.early_turns), ("late", self.late_turns)):
            if count is not None and count * new % old == 0:
                update[f"{end}_turns"] = count * new // old
            elif count is not None:
                update[f"{end}_turns"] = None
                update[f"{end}_fraction"] = (count if end == "early" else old - count) / old
        return self.model_copy(update=update)

    @model_validator(mode="after")
    def _exponential_is_positive(self) -> _Thresholds:
        if self.shape == "exponential" and min(self.early, self.late) <= 0:
            raise ValueError(
                f"late: an exponential shape needs early, late > 0, got {self.early}, {self.late}; use shape: linear"
            )
        return self


class Thresholds(_Thresholds):
    """`early` on the first turns, `late` on the last ones, a decay between them."""

    measured: ClassVar[bool] = False
    kind: Literal["thresholds"] = "thresholds"


class _Measured(OverTurns):
    by_turn: ClassVar[bool] = False
    measured: ClassVar[bool] = True

    def is_one(self) -> bool:
        return True


class TDur(_Measured):
    """Weights from the trajectory itself: turns where the student disagrees or is unsure count more (T-DUR)."""

    kind: Literal["t_dur"] = "t_dur"


class Product(_Thresholds):
    """thresholds x t_dur."""

    measured: ClassVar[bool] = True
    kind: Literal["product"] = "product"


class TokenLevel(_Measured):
    """T-DUR's formula on single tokens instead of turns: the published ablation's arm."""

    kind: Literal["token_level"] = "token_level"


class CustomTurns(Custom, OverTurns):
    """Your own: a weight g(turn, horizon) in [0, 1], or weights of tokens from log-probs, at least 0."""

    kind: Literal["custom"] = "custom"
    weighs: Literal["turns", "tokens"] = Field(
        "turns",
        description="What your function weighs: turns, as f(turn, horizon), or tokens, as "
        "f(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT).",
    )

    @property
    def by_turn(self) -> bool:
        return self.weighs == "turns"

    @property
    def measured(self) -> bool:
        return self.weighs == "tokens"

    @property
    def on_tensors(self) -> bool:
        return self.weighs == "tokens"

    def is_one(self) -> bool:
        return self.weighs == "tokens"

    @classmethod
    def called_with(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        if data.get("weighs") == "tokens":
            return ("student_logp_BT", "teacher_logp_BT", "turn_BT", "mask_BT")
        return ("turn", "horizon")


TurnProfile = Annotated[Uniform | Thresholds | TDur | Product | TokenLevel | CustomTurns, Field(discriminator="kind")]
