"""Decay shapes: functions of progress, one file each, and the table of them. Imports no torch.

A shape is a plain function `shape(p, ...)` of progress p in [0, 1] and of its config's numbers by name. To add one: its
record in `config/schedules.py`, a file here, and a line in `SHAPES`. The function's source goes into exported bundles.
"""

from __future__ import annotations

from typing import Any

from atod_sweep.config.kinds import one_each
from atod_sweep.config.schedules import Annealed, ClosedForm
from atod_sweep.objective.portable import Portable
from atod_sweep.objective.shapes.constant import constant
from atod_sweep.objective.shapes.cosine import cosine
from atod_sweep.objective.shapes.custom import custom_decay
from atod_sweep.objective.shapes.exponential import exponential
from atod_sweep.objective.shapes.linear import linear
from atod_sweep.objective.shapes.piecewise import piecewise
from atod_sweep.objective.shapes.step import step

SHAPES: dict[str, Portable] = one_each(
    ClosedForm,
    {
        "constant": Portable(constant),
        "linear": Portable(linear),
        "cosine": Portable(cosine),
        "exponential": Portable(exponential),
        "step": Portable(step),
        "piecewise": Portable(piecewise, uses=(linear,)),
        "custom": Portable(custom_decay, uses=(linear,)),
    },
)

# What a config holds beside the numbers of its shape.
_OTHERWISE = {"kind", *(set(Annealed.model_fields) - {"start", "end"})}


def value(kind: str, p: float, **numbers: Any) -> float:
    """The value of a kind's shape at progress p.

    >>> value("linear", 0.5, start=1.0, end=0.1)
    0.55
    """
    found: float = SHAPES[kind].function(p, **numbers)
    return found


def numbers(config: ClosedForm) -> dict[str, Any]:
    """The numbers of a config's shape, by name.

    >>> from atod_sweep.config.schedules import Cosine
    >>> numbers(Cosine(end=0.2, anneal_steps=80))
    {'start': 1.0, 'end': 0.2}
    """
    return config.model_dump(mode="json", exclude=_OTHERWISE)
