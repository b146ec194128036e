"""What so many seeds can show, against Cohen's table and statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from atod_sweep.evidence.stats import power
from atod_sweep.evidence.stats.procedures import SEQUENCE, STUDENT


@pytest.mark.parametrize(("n", "effect"), [(10, 1.0), (15, 0.8), (34, 0.5), (199, 0.2)])
def test_detectable_as_in_the_tables(n: int, effect: float) -> None:
    """Pairs for 80 % power at two-sided 5 %: G*Power and Cohen (1988) give 10, 15, 34, 199."""
    critical = STUDENT.critical(n, 0.05)
    assert power.minimum_detectable(1.0, n, critical) <= effect
    assert power.minimum_detectable(1.0, n - 1, STUDENT.critical(n - 1, 0.05)) > effect
    assert power.minimum_detectable(0.1, n, critical) == pytest.approx(power.minimum_detectable(1.0, n, critical) / 10)


@pytest.mark.parametrize("n", [3, 5, 10, 40])
def test_detectable_has_statsmodels_power(n: int) -> None:
    effect = power.minimum_detectable(1.0, n, STUDENT.critical(n, 0.05))
    assert TTestPower().power(effect, n, 0.05) == pytest.approx(0.8, abs=1e-3)


def test_detectable_of_the_sequence_is_simulated() -> None:
    rng, n = np.random.default_rng(0), 10
    effect = power.minimum_detectable(1.0, n, SEQUENCE.critical(n, 0.05))
    found = [SEQUENCE.interval(x_N).low > 0 for x_N in rng.normal(effect, 1, (2000, n))]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("n", [5, 11, 30])
def test_the_smallest_margin_is_simulated(n: int) -> None:
    rng = np.random.default_rng(1)
    margin = power.smallest_margin(1.0, n, STUDENT.critical(n, 0.1))
    x_RN = rng.normal(0, 1, (20_000, n))
    half_R = stats.t.ppf(0.95, n - 1) * x_RN.std(axis=1, ddof=1) / math.sqrt(n)
    shown = np.mean(np.abs(x_RN.mean(axis=1)) + half_R < margin)
    assert 0.79 < shown < 0.82  # a lower bound: on few seeds both tests may fail at once


def test_edges() -> None:
    assert math.isnan(power.minimum_detectable(1.0, 1, 12.7))
    assert math.isinf(power.minimum_detectable(1.0, 3, SEQUENCE.critical(3, 0.05)))
    assert power.minimum_detectable(0.0, 5, 2.8) == 0.0
    assert power.minimum_detectable(1.0, 2, STUDENT.critical(2, 0.05)) > 10  # a spread of two seeds is hardly one


def test_variance_removed_by_pairing() -> None:
    a = np.array([0.1, 0.2, 0.3, 0.4])
    assert power.variance_removed(a, a + 0.05) == pytest.approx(1.0)
    assert power.variance_removed(a, a[::-1]) == pytest.approx(-1.0)
    assert power.variance_removed([0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]) == pytest.approx(0.0)
    assert math.isnan(power.variance_removed([0.5, 0.5], [0.5, 0.5]))
