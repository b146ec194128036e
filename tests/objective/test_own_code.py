"""Functions of the user's own are tried before anything is played: every kind, and everything that can be wrong."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from atod_sweep.config.base import validate
from atod_sweep.config.custom import Custom, customs
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.objective import own_code


def train_with(objective: dict[str, Any] | None = None, **fields: Any) -> Train:
    return validate(Train, {"objective": {"kind": "interpolated", **(objective or {})}, **fields}, "config")


def own(path: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "custom", "path": path, **fields}


EVERYWHERE = {
    "distill_weight": own("own_ideas:root"),
    "turns": own("own_weights:turn_mean", weighs="tokens"),
    "distill": own("own_weights:total_variation"),
    "kl_penalty": {"kind": "k3", "coef": own("own_ideas:root", start=0.1, end=0.0)},
}


def test_everything_of_ones_own_is_found_and_passes() -> None:
    train = train_with(EVERYWHERE, rollout={"temperature": own("own_ideas:root", start=1.0, end=0.5)})
    assert [key for key, _ in customs(train)] == [
        "objective.distill_weight",
        "objective.turns",
        "objective.kl_penalty.coef",
        "objective.distill",
        "rollout.temperature",
    ]
    own_code.check(train)
    own_code.check(train_with({"turns": own("own_ideas:first_half")}))


def test_every_kind_of_own_code_has_a_check() -> None:
    """Found in the annotations of a whole config, so that a new place for own code cannot be forgotten."""
    found: set[type] = set()

    def walk(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if issubclass(annotation, Custom):
                found.add(annotation)
            for field in annotation.model_fields.values():
                walk(field.annotation)
        for arg in get_args(annotation):
            walk(arg)

    walk(Train)
    assert found == set(own_code._CHECKS)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            {"distill_weight": own("own_ideas:overshooting", anneal_fraction=1.0)},
            r"distill_weight\.path: 'own_ideas:overshooting' gives 1\.0\d+ at progress 0\.\d+; a decay gives a share",
        ),
        (
            {"distill_weight": own("own_ideas:lost")},
            r"distill_weight\.path: 'own_ideas:lost' gives nan at progress 0\.5",
        ),
        ({"distill_weight": own("own_ideas:wordy")}, r"distill_weight\.path: 'own_ideas:wordy' gives 'half'"),
        (
            {"distill_weight": own("own_ideas:fails")},
            r"distill_weight\.path: 'own_ideas:fails' fails: ZeroDivisionError",
        ),
        ({"distill_weight": own("own_ideas:leaves")}, r"distill_weight\.path: 'own_ideas:leaves' fails: SystemExit: 3"),
        (
            {"turns": own("own_ideas:above_one")},
            r"turns\.path: 'own_ideas:above_one' gives 2\.0 on turn 2 of 8; a profile is from 0 to 1",
        ),
        (
            {"turns": own("own_weights:negative", weighs="tokens")},
            r"turns\.path: 'own_weights:negative' gives a token the weight -\d",
        ),
        (
            {"turns": own("own_weights:one_number", weighs="tokens")},
            r"turns\.path: 'own_weights:one_number' must give one weight per token, a tensor \[2, 7\]; got float",
        ),
        (
            {"distill": own("own_weights:without_gradient")},
            r"distill\.path: 'own_weights:without_gradient' gives a loss without a gradient",
        ),
        (
            {"distill": own("own_weights:one_loss")},
            r"distill\.path: 'own_weights:one_loss' must give one loss per token, a tensor \[4\]; got \[\]",
        ),
        (
            {"distill": own("own_weights:not_finite")},
            r"distill\.path: 'own_weights:not_finite' has a gradient that is not finite",
        ),
        (
            {"distill": own("own_weights:infinite")},
            r"distill\.path: 'own_weights:infinite' gives the loss inf; it must be finite",
        ),
    ],
)
def test_refused_before_anything_is_played(objective: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"^objective\." + message) as caught:
        own_code.check(train_with(objective, steps=100))
    assert "\n" not in str(caught.value)
