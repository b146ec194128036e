"""Effects in a factorial study on common seeds. `_S` seeds, `_A` arms, `_B` levels of a factor. Pure.

Every seed holds all cells (a complete block), so each effect is a contrast within seeds and its interval is Student's
over the seeds' contrasts: what a seed does to all cells cancels, and no common variance is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from atod_sweep.evidence.stats.intervals import Array, Interval, t_interval


@dataclass(frozen=True)
class Effects:
    """Deviations from the grand mean; main effects sum to 0, interactions to 0 along rows and columns."""

    grand: Interval
    arms: list[Interval]
    levels: list[Interval]
    interaction: list[list[Interval]]


def effects(scores_SAB: ArrayLike, level: float = 0.95) -> Effects:
    """Main effects and interaction of two crossed factors, with intervals over seeds."""
    x_SAB = _cells(scores_SAB)
    grand_S = x_SAB.mean(axis=(1, 2))
    arm_SA = x_SAB.mean(axis=2) - grand_S[:, None]
    level_SB = x_SAB.mean(axis=1) - grand_S[:, None]
    rest_SAB = x_SAB - grand_S[:, None, None] - arm_SA[:, :, None] - level_SB[:, None, :]
    return Effects(
        grand=t_interval(grand_S, level),
        arms=[t_interval(x_S, level) for x_S in arm_SA.T],
        levels=[t_interval(x_S, level) for x_S in level_SB.T],
        interaction=[
            [t_interval(rest_SAB[:, a, b], level) for b in range(x_SAB.shape[2])] for a in range(x_SAB.shape[1])
        ],
    )


def difference_of_differences(
    scores_SAB: ArrayLike, arm: int, reference: int, at: int, base: int, level: float = 0.95
) -> Interval:
    """(arm - reference at level `at`) - (arm - reference at level `base`): does the factor change who is better?"""
    x_SAB = _cells(scores_SAB)
    gap_SB = x_SAB[:, arm] - x_SAB[:, reference]
    return t_interval(gap_SB[:, at] - gap_SB[:, base], level)


def _cells(scores_SAB: ArrayLike) -> Array:
    x_SAB = np.asarray(scores_SAB, dtype=np.float64)
    if x_SAB.ndim != 3:
        raise ValueError(f"expected scores[seeds, arms, levels], got shape {x_SAB.shape}")
    return x_SAB
