"""Seeds and tasks as two sources of chance: by hand, consistent with p, and holding the truth as often as they say."""

import math

import numpy as np
import pytest
from scipy import stats

from atod_sweep.evidence.stats.procedures import SEQUENCE, STUDENT, Procedure
from atod_sweep.evidence.stats.task_sets import TaskError, bounded, measured

TABLE = [[0.50, 0.60, 0.70, 0.60], [0.60, 0.70, 0.90, 0.60], [0.40, 0.50, 0.50, 0.60]]  # 3 seeds x 4 sets


def test_two_half_widths_by_hand() -> None:
    """Seeds' means 0.6, 0.7, 0.5: sd 0.1, t(2) 4.3027. Sets' means 0.5, 0.6, 0.7, 0.6: sd 0.08165, t(3) 3.1824."""
    error = measured(TABLE)
    assert error == TaskError(pytest.approx(0.0816497 / 2, abs=1e-6), 4)
    found = STUDENT.over_tasks(error).interval(np.mean(TABLE, axis=1))
    assert found.estimate == pytest.approx(0.6)
    assert found.half_width == pytest.approx(math.hypot(4.302653 * 0.1 / math.sqrt(3), 3.182446 * 0.0816497 / 2))


def test_a_bound_is_normal() -> None:
    assert bounded([0.5], 400).half_width(0.05) == pytest.approx(1.959964 * 0.025, abs=1e-6)


@pytest.mark.parametrize("tasks", [32, 400, 4096])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_at_its_end_is_no_certainty(share: float, tasks: int) -> None:
    """As wide as the exact interval of none failing: 1 - 0.025^(1/T)."""
    exact = 1 - 0.025 ** (1 / tasks)
    assert exact < bounded([share], tasks).half_width(0.05) < 1.15 * exact


@pytest.mark.parametrize("procedure", [STUDENT, SEQUENCE], ids=["student", "sequence"])
@pytest.mark.parametrize("error", [TaskError(0.02, 8), TaskError(0.02, math.inf), TaskError(0.0, 4)], ids=str)
def test_p_and_interval_are_one(procedure: Procedure, error: TaskError) -> None:
    x_N = np.random.default_rng(0).normal(0.1, 0.05, 12)
    both = procedure.over_tasks(error)
    for level in (0.9, 0.95, 0.99):
        low = both.interval(x_N, level).low
        assert both.p(x_N, low) == pytest.approx(1 - level, rel=1e-6)
        assert both.p(x_N, low - 1e-4) < 1 - level < both.p(x_N, low + 1e-4)
    assert both.interval(x_N).half_width >= procedure.interval(x_N).half_width
    assert both.p(x_N, float(x_N.mean())) == pytest.approx(1)
    assert both.p_beyond(x_N, 0.0) >= procedure.p_beyond(x_N, 0.0) - 1e-9
    assert math.isnan(both.p([0.1]))
    assert procedure.over_tasks(None) is procedure


def test_a_procedure_over_tasks_says_so() -> None:
    assert STUDENT.over_tasks(measured(TABLE)).name == "paired t test over seeds and tasks"
    assert SEQUENCE.over_tasks(measured(TABLE)).anytime


@pytest.mark.parametrize("scores", [[], [[]], [[0.5]], [0.5, 0.6], [[0.5, math.nan]]])
def test_too_little_to_measure(scores: list[object]) -> None:
    with pytest.raises(ValueError, match="two sets or more"):
        measured(scores)


def test_shares_outside_their_range() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        bounded([1.2], 512)


def held(scores_RST: np.ndarray, tasks: bool) -> float:
    """Share of data sets whose 95 % interval holds the true mean, 0: the procedure's formula, for all at once."""
    _, s, t = scores_RST.shape
    seeds_R = scores_RST.mean(2).std(1, ddof=1) / math.sqrt(s) * stats.t.ppf(0.975, s - 1)
    sets_R = scores_RST.mean(1).std(1, ddof=1) / math.sqrt(t) * stats.t.ppf(0.975, t - 1)
    half_R = np.hypot(seeds_R, sets_R) if tasks else seeds_R
    return float((np.abs(scores_RST.mean((1, 2))) <= half_R).mean())


@pytest.mark.parametrize(("seeds", "sets"), [(3, 4), (5, 8), (10, 8)])
@pytest.mark.parametrize("sd_sets", [0.0, 0.022, 0.05])
def test_intervals_hold_the_truth_whatever_the_tasks_do(seeds: int, sets: int, sd_sets: float) -> None:
    rng = np.random.default_rng(seeds)
    runs = 4000
    scores_RST = rng.normal(0, 0.025, (runs, seeds, 1)) + rng.normal(0, 0.02, (runs, seeds, sets))
    scores_RST += rng.normal(0, 1, (runs, 1, sets)) * sd_sets
    assert held(scores_RST, tasks=True) > 0.945
    if sd_sets > 0.03 and seeds == 10:
        assert held(scores_RST, tasks=False) < 0.75  # what an interval over seeds alone is worth then
    one = scores_RST[0]
    found = STUDENT.over_tasks(measured(one)).interval(one.mean(1))
    assert found.excludes(0.0) is not bool(held(one[None], tasks=True))
