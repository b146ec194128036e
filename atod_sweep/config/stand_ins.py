"""Null controls as data: what takes the place of the teacher's word, all else being as it was.

If a student learns as well from one of these, what it learned was not the teacher's.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from atod_sweep.config.base import Record


class ShuffledTeacher(Record):
    """Every turn gets what the teacher says of another turn of the batch that is as long; 0 weight if there is none."""

    scores: ClassVar[bool] = True
    kind: Literal["shuffled_teacher"] = "shuffled_teacher"


class RandomTeacher(Record):
    """A teacher of the same architecture that nobody has trained."""

    scores: ClassVar[bool] = True
    kind: Literal["random_teacher"] = "random_teacher"


class ConstantPush(Record):
    """One negative advantage on the least likely tokens that the student sampled (arXiv 2608.31046); no teacher.

    The defaults are the paper's: -0.5 on the 20 % of a batch's tokens with the lowest log-probs. It divides by the
    number of these, and every term here by that of all tokens, which makes the same push a fifth as strong.
    """

    scores: ClassVar[bool] = False
    kind: Literal["constant_push"] = "constant_push"
    push: float = Field(0.5, gt=0, description="Size c of the advantage -c.")
    lowest: float = Field(
        0.2, gt=0, le=1, description="Share q of a batch's tokens that get it, the least likely ones; at least one."
    )


StandIn = Annotated[ShuffledTeacher | RandomTeacher | ConstantPush, Field(discriminator="kind")]
