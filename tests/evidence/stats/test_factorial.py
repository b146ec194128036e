"""Effects of a factorial study by hand and against a repeated-measures analysis of variance."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from atod_sweep.evidence.stats.factorial import effects


def test_deviations_by_hand() -> None:
    cell_AB = np.array([[0.8, 0.6], [0.6, 0.2], [0.7, 0.4]])
    found = effects(np.array([cell_AB, cell_AB + 0.1, cell_AB - 0.1]))  # seeds shift all cells alike
    assert [e.estimate for e in found.arms] == pytest.approx([0.15, -0.15, 0.0])
    assert [e.estimate for e in found.levels] == pytest.approx([0.15, -0.15])
    assert found.arms[0].half_width == np.inf  # the same on three seeds, which may be chance


def test_agrees_with_repeated_measures_anova() -> None:
    """With two levels each, F of every effect is the square of its contrast's t."""
    x_SAB = np.random.default_rng(5).normal(0, 1, (9, 2, 2)) + np.array([[0.0, 0.5], [1.0, 0.2]])
    rows = [{"s": s, "a": a, "b": b, "y": x_SAB[s, a, b]} for s in range(9) for a in range(2) for b in range(2)]
    f = AnovaRM(pd.DataFrame(rows), "y", "s", within=["a", "b"]).fit().anova_table["F Value"]
    found = effects(x_SAB)
    ours = {"a": found.arms[0], "b": found.levels[0]}
    for name, interval in ours.items():
        t = interval.estimate / (interval.half_width / stats.t.ppf(0.975, 8))
        assert t**2 == pytest.approx(f[name])
