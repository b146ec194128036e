"""Effects in a factorial study on common seeds. `_S` seeds, `_A` arms, `_B` levels of a factor. Pure.

Every seed holds all cells (a complete block), so each effect is a contrast within seeds and its interval is Student's
over the seeds' contrasts: what a seed does to all cells cancels, and no common variance is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.procedures import STUDENT


@dataclass(frozen=True)
class Effects:
    """Deviations from the grand mean, which sum to 0 over the arms and over the levels."""

    arms: list[Interval]
    levels: list[Interval]


def effects(scores_SAB: ArrayLike) -> Effects:
    """Main effects of two crossed factors, with 95 % intervals over seeds."""
    x_SAB = np.asarray(scores_SAB, dtype=np.float64)
    if x_SAB.ndim != 3:
        raise ValueError(f"expected scores[seeds, arms, levels], got shape {x_SAB.shape}")
    grand_S = x_SAB.mean(axis=(1, 2))
    arm_SA = x_SAB.mean(axis=2) - grand_S[:, None]
    level_SB = x_SAB.mean(axis=1) - grand_S[:, None]
    return Effects(
        arms=[STUDENT.interval(x_S) for x_S in arm_SA.T],
        levels=[STUDENT.interval(x_S) for x_S in level_SB.T],
    )
