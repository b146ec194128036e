"""Turn profiles: functions g(turn, horizon) known before training, one file each, and the table of them. No torch.

Turns count from 0. What some kinds put on top of g, from the log-probs of each trajectory, is in `measured`. To add a
profile: its record in `config/turns.py`, a file here, and a line in `PROFILES`. The function `g(turn, horizon, ...)`
gets the config's other fields by name; its source goes into exported bundles.
"""

from __future__ import annotations

from atod_sweep.config.kinds import one_each
from atod_sweep.config.turns import TurnProfile, bounds
from atod_sweep.errors import UserError
from atod_sweep.objective.portable import Portable
from atod_sweep.objective.profiles.custom import custom_turns
from atod_sweep.objective.profiles.thresholds import thresholds
from atod_sweep.objective.profiles.uniform import one, uniform

PROFILES: dict[str, Portable] = one_each(
    TurnProfile,
    {
        "uniform": Portable(uniform),
        "thresholds": Portable(thresholds, uses=(bounds,)),
        "t_dur": Portable(one),
        "product": Portable(thresholds, uses=(bounds,)),
        "token_level": Portable(one),
        "custom": Portable(custom_turns),
    },
)


def profile(config: TurnProfile, horizon: int) -> list[float]:
    """g(k) for k = 0 .. horizon - 1; what a measured profile puts on top counts as 1.

    Raises UserError if the profile does not fit into the horizon.

    >>> from atod_sweep.config.turns import Product, Thresholds
    >>> profile(Thresholds(early_turns=1, late_turns=1), 3)
    [0.9, 0.5, 0.1]
    >>> profile(Product(early=1.0, late=0.0, early_turns=1, late_turns=2, shape="step"), 4)
    [1.0, 1.0, 0.0, 0.0]
    """
    if horizon < 1:
        raise UserError(f"horizon: must be at least 1 turn, got {horizon}")
    try:
        config.check(horizon, "turns")
    except ValueError as error:
        raise UserError(str(error)) from None
    g, numbers = PROFILES[config.kind].function, config.model_dump(mode="json", exclude={"kind"})
    return [g(turn, horizon, **numbers) for turn in range(horizon)]
