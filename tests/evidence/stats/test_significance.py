"""Tests of differences against published examples, scipy and statsmodels."""

import numpy as np
import pytest
from scipy import stats
from sleep_data import DRUG_1, DRUG_2
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from atod_sweep.evidence.stats import significance

# Crossed minus self-fertilised maize, eighths of an inch (Darwin 1876; Fisher 1935, Design of Experiments, section 21).
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_fishers_maize() -> None:
    """Fisher counted 863 of the 32,768 sign patterns with a total of at least 314; both tails make 1,726."""
    assert sum(MAIZE) == 314
    assert significance.sign_flip(MAIZE) == 1726 / 2**15


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0], 1.0),
        ([1.0, 2.0], 0.5),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 0.0625),
        ([1.0, -2.0, 3.0, 4.0, 5.0], 0.1875),  # 15 - 2 * flipped >= 11: flip none, the 1 or the 2; times two tails
        ([0.0, 0.0, 0.0], 1.0),
        ([0.1, 0.1, 0.1, -0.1, -0.1, 0.1], 0.6875),  # |heads - tails| >= 2 of six coins: 1 - 20/64
    ],
)
def test_sign_flip_by_hand(differences: list[float], p: float) -> None:
    assert significance.sign_flip(differences) == p


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_sign_flip_agrees_with_scipy(n: int) -> None:
    d_N = np.random.default_rng(n).normal(0.3, 1, n)
    theirs = stats.permutation_test((d_N,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert significance.sign_flip(d_N) == pytest.approx(theirs.pvalue)


def test_forty_seeds_are_still_counted_exactly() -> None:
    d_N = np.random.default_rng(0).normal(0.3, 1, 40)
    assert significance.sign_flip(d_N) == pytest.approx(significance.t_test(d_N), abs=0.01)
    with pytest.raises(ValueError, match="got 41"):
        significance.sign_flip(np.ones(41))


@pytest.mark.parametrize(
    ("n", "p"), [(0, 1.0), (1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)]
)
def test_smallest_p_is_what_a_clean_sweep_reaches(n: int, p: float) -> None:
    assert significance.smallest_p(n) == p
    if n:
        assert significance.sign_flip(np.arange(1.0, n + 1)) == p


def test_t_test_of_the_sleep_data() -> None:
    assert significance.t_test(np.subtract(DRUG_2, DRUG_1)) == pytest.approx(0.00283289, abs=1e-8)


def test_differences_without_spread() -> None:
    assert significance.t_test([0.0, 0.0]) == 1.0
    assert significance.t_test([0.1, 0.1]) == 0.0
    assert significance.equivalence([0.01, 0.01], 0.02) == 0.0
    assert significance.equivalence([0.02, 0.02], 0.02) == 1.0
    assert significance.probability_better([0.0, 0.0]) == 0.5
    assert significance.probability_better([-0.1, -0.1]) == 0.0


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


@pytest.mark.parametrize("margin", [0.2, 0.5, 1.0])
def test_equivalence_agrees_with_statsmodels(margin: float) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.1, 0.5, (2, 12))
    assert significance.equivalence(a - b, margin) == pytest.approx(ttost_paired(a, b, -margin, margin)[0])


def test_probability_better_is_one_minus_the_one_sided_p() -> None:
    d_N = np.subtract(DRUG_2, DRUG_1)
    assert significance.probability_better(d_N) == pytest.approx(1 - 0.00283289 / 2, abs=1e-8)
    assert significance.probability_better(-d_N) == pytest.approx(0.00283289 / 2, abs=1e-8)
