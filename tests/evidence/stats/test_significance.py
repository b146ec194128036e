"""Corrections for several tests."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from atod_sweep.evidence.stats import significance


def test_holm_by_hand() -> None:
    adjusted = significance.holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 0.005*4; 0.01*3; 0.03*2; 0.04*1 raised to 0.06


def test_holm_agrees_with_statsmodels_and_ignores_missing_tests() -> None:
    p_K = np.random.default_rng(1).uniform(0, 0.2, 7)
    theirs = multipletests(p_K, method="holm")[1]
    assert significance.holm(p_K) == pytest.approx(theirs)
    with_gap = significance.holm([*p_K, np.nan])
    assert with_gap[:7] == pytest.approx(theirs)
    assert np.isnan(with_gap[7])
