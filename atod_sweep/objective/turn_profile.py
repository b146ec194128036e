"""The part of a turn profile g(k) that is known before training, turn by turn. Imports no torch.

Turns count from 0. What T-DUR adds depends on the trajectory and lies in `turn_weights`.
"""

from __future__ import annotations

from atod_sweep.config.objective import Product, Thresholds, TurnProfile, Uniform
from atod_sweep.errors import UserError
from atod_sweep.objective.schedules import decay


def thresholds(config: Thresholds | Product, horizon: int) -> list[float]:
    """g(k) for k = 0 .. horizon - 1: `early`, then a decay, then `late`.

    The decay runs from the last early turn (end of the early part minus 1) to the first late turn: with 10 turns, 2
    early and 2 late ones, turns 0, 1 are early, 8, 9 late, and 2 .. 7 lie strictly between. Shape `step` stays early
    up to the first late turn. Raises UserError if the thresholds do not fit into the horizon.
    """
    try:
        config.check(horizon, "turns")
    except ValueError as error:
        raise UserError(str(error)) from None
    early_end, late_start = config.bounds(horizon)
    last_early = early_end - 1.0

    def weight(turn: int) -> float:
        if config.shape == "step":
            return config.early if turn < late_start else config.late
        share = min(max((turn - last_early) / (late_start - last_early), 0.0), 1.0)
        return decay(config.shape, config.early, config.late, share)

    return [weight(turn) for turn in range(horizon)]


def profile(config: TurnProfile, horizon: int) -> list[float]:
    """g(k) for k = 0 .. horizon - 1 of any profile; the data-dependent factor of t_dur and token_level counts as 1."""
    if horizon < 1:
        raise UserError(f"horizon: must be at least 1 turn, got {horizon}")
    match config:
        case Thresholds() | Product():
            return thresholds(config, horizon)
        case Uniform():
            return [config.value] * horizon
        case _:
            return [1.0] * horizon
