"""Power and numbers of seeds against Cohen's table and statsmodels."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from atod_sweep.evidence.stats import power


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 10), (0.8, 15), (0.5, 34), (0.2, 199)])
def test_seeds_needed_as_in_the_tables(effect: float, seeds: int) -> None:
    """Pairs for 80 % power at two-sided 5 %: G*Power and Cohen (1988) give 10, 15, 34, 199."""
    assert power.seeds_needed(effect, 1.0) == seeds
    assert power.seeds_needed(-effect, 1.0) == seeds


@pytest.mark.parametrize(("effect", "n"), [(1.0, 10), (0.5, 20), (2.0, 4), (3.3, 3), (0.0, 8)])
def test_power_agrees_with_statsmodels(effect: float, n: int) -> None:
    assert power.power(effect * 7, 7.0, n) == pytest.approx(TTestPower().power(effect, n, 0.05), abs=1e-4)


def test_power_where_scipys_noncentral_t_gives_nan() -> None:
    assert power.power(1000.0, 1.0, 3) == pytest.approx(1.0)


@pytest.mark.parametrize(("n", "effect"), [(3, 3.26), (5, 1.68), (10, 0.996)])
def test_minimum_detectable(n: int, effect: float) -> None:
    assert power.minimum_detectable(1.0, n) == pytest.approx(effect, abs=0.01)
    assert power.minimum_detectable(0.1, n) == pytest.approx(effect / 10, abs=0.001)


def test_edges() -> None:
    assert power.power(0.5, 0.1, 1) == 0.0
    assert power.power(0.5, 0.0, 2) == 1.0
    assert power.seeds_needed(0.001, 1.0) is None
    assert power.seeds_needed(0.0, 1.0) is None
    assert power.seeds_needed(0.5, 0.0) == 2
    assert math.isnan(power.minimum_detectable(1.0, 1))


def test_equivalence_needs_the_effect_inside_the_margin() -> None:
    assert power.equivalence_seeds_needed(0.03, 0.01, 0.03) is None
    # Effect 0, margin = sd: 2 * t power - 1 >= 0.8 needs 90 % per side, delta = 2.93 (normal) -> 9, t -> 11 seeds.
    assert power.equivalence_seeds_needed(0.0, 1.0, 1.0) == 11


def test_variance_removed_by_pairing() -> None:
    a = np.array([0.1, 0.2, 0.3, 0.4])
    assert power.variance_removed(a, a + 0.05) == pytest.approx(1.0)
    assert power.variance_removed(a, a[::-1]) == pytest.approx(-1.0)
    assert power.variance_removed([0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]) == pytest.approx(0.0)
    assert math.isnan(power.variance_removed([0.5, 0.5], [0.5, 0.5]))
