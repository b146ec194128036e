"""What tokens and machines cost, in money of any kind: yours, since nobody else knows your prices."""

from __future__ import annotations

from pydantic import Field

from atod_sweep.config.base import Record


class TokenPrice(Record):
    """Money per million tokens of one model."""

    input: float = Field(ge=0, description="Per million tokens read for the first time.")
    output: float = Field(ge=0, description="Per million tokens written.")
    cached: float = Field(0.0, ge=0, description="Per million tokens of earlier turns that are read again.")


class Price(Record):
    """Prices by which `atod-sweep cost` tells what a task costs, and how many of them earn the training back."""

    student: TokenPrice = Field(description="Of the trained student when it works.")
    teacher: TokenPrice = Field(
        description="Of the teacher, when it scores in training or works in the student's place."
    )
    hour: float = Field(0.0, ge=0, description="Of one hour of the machine that one trial trains on.")
    currency: str = Field("$", description="What stands before amounts.")
