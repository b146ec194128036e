"""Claims compare arms that one trainer trained: two differ in how they sample, round and order sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from atod_sweep.config.study import Hypothesis
from atod_sweep.errors import UserError


def check(
    claims: Iterable[Hypothesis], trained: Iterable[tuple[str, Mapping[str, str], Mapping[str, Any]]], where: str
) -> None:
    """UserError for a claim between arms of two trainers. `trained`: (arm, levels of factors, config) of trainings."""
    trainers = {
        (arm, *levels.items()): config.get("trainer", {"kind": "atod"})["kind"] for arm, levels, config in trained
    }
    for i, claim in enumerate(claims):
        for (arm, *levels), kind in trainers.items():
            other = trainers.get((claim.other, *levels), kind)
            if arm == claim.arm and claim.at.items() <= set(levels) and other != kind:
                raise UserError(
                    f"{where}: hypotheses.{i}: {arm!r} is trained by {kind} and {claim.other!r} by {other}, so their "
                    "difference would be the trainers' as well; set one trainer.kind for both"
                )
