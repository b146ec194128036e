"""Correlations and slices on the draws that no result had a hand in."""

import math
from typing import Any

import numpy as np
import pytest

from atod_sweep.evidence.analysis.trends import is_unseen, trends

PARAMETERS = {"optimiser.lr": {"float": [0.0, 1.0]}, "objective.turns.kind": {"choice": ["uniform", "t_dur"]}}


def ledger(points: list[tuple[float, str, float | None]], mode: str = "max", **search: Any) -> list[dict[str, Any]]:
    """Rows of a search: (learning rate, kind, score) of every configuration; None: it failed."""
    metric = {"name": "eval/success", "last": 1, "mode": mode}
    rows: list[dict[str, Any]] = [{"event": "study", "search": {"metric": metric, "parameters": PARAMETERS, **search}}]
    for i, (lr, kind, score) in enumerate(points):
        values = {"optimiser.lr": lr, "objective.turns.kind": kind}
        rows.append({"event": "configuration", "arm": f"c{i}", "number": i, "params": values, "values": values})
        told = {"state": "FAIL", "values": None} if score is None else {"state": "COMPLETE", "values": [score]}
        rows.append({"event": "told", "arm": f"c{i}", **told})
    return rows


RISING = [(x, "uniform" if i % 2 else "t_dur", x + 0.3 * (i % 2)) for i, x in enumerate(np.linspace(0, 1, 12).tolist())]


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_a_parameter_that_helps(mode: str, sign: int) -> None:
    lr, kind = trends(ledger(RISING, mode, sampler={"kind": "random", "seed": 0}))
    assert lr.unseen.n == lr.all.n == 12
    assert sign * lr.unseen.estimate > 0.8
    assert lr.unseen.excludes(0.0)
    assert [s.score.n for s in lr.slices] == [4, 4, 4]
    assert lr.slices[0].score.estimate < lr.slices[2].score.estimate
    assert math.isnan(kind.unseen.estimate)
    assert {s.values: s.score.n for s in kind.slices} == {"t_dur": 6, "uniform": 6}


def test_what_the_sampler_settled_on_shows_over_all_draws_and_has_no_interval_there() -> None:
    settled = [*RISING[:5], *[(0.9, "uniform", 1.2)] * 30, RISING[0]]
    lr, _ = trends(ledger(settled, sampler={"kind": "tpe", "startup": 5}, start_from=[{}]))
    assert lr.unseen.n == 4  # five draws before the model, one of them somebody's choice
    assert lr.all.n == 36
    assert lr.all.estimate > 0.5
    assert math.isnan(lr.all.low)


def test_small_values_are_told_apart_and_equal_scores_are_no_certainty() -> None:
    points = [(0.0001 * (i + 1), "uniform" if i < 2 else "t_dur", 0.0 if i < 2 else 0.1 * i) for i in range(8)]
    lr, kind = trends(ledger(points, sampler={"kind": "random"}))
    assert [s.values for s in lr.slices] == ["0.0001 to 0.0004", "0.0005 to 0.0008"]
    uniform = next(s.score for s in kind.slices if s.values == "uniform")
    assert (uniform.estimate, uniform.half_width) == (0.0, math.inf)


def test_failed_configurations_do_not_count_and_few_draws_have_no_slices() -> None:
    lr, _ = trends(ledger([(x, k, None if i else s) for i, (x, k, s) in enumerate(RISING)]))
    assert (lr.unseen.n, lr.slices) == (1, ())
    assert math.isnan(lr.unseen.estimate)
    assert trends([{"event": "study"}]) == []


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_what_was_stopped_early_was_worse_whatever_it_had_reached(mode: str, sign: int) -> None:
    """Scores fall, and those at the right end were stopped."""
    points = [(i / 12, "uniform", 0.5 - sign * i / 24) for i in range(12)]
    rows = ledger(points, mode, second={"name": "cost/env_steps", "last": 1, "mode": "min"})
    for row in rows[1:]:
        if row["event"] == "told":
            at = int(row["arm"][1:])
            row["values"] = [*row["values"], float(at)]
            row |= {"state": "PRUNED", "values": [9.0, 0.0]} if at > 7 else {}
    lr, _ = trends(rows)
    assert (lr.unseen.n, lr.all.n) == (12, 12)
    assert lr.unseen.estimate < -0.9
    assert sum(s.score.n for s in lr.slices) == 8  # what it had reached is in no mean
    cost, _ = trends(rows, second=True)
    assert cost.unseen.n == 8  # it was cheap because it was stopped


@pytest.mark.parametrize(
    ("sampler", "number", "unseen"),
    [
        ({"kind": "tpe", "startup": 10}, 1, False),  # given by hand
        ({"kind": "tpe", "startup": 10}, 2, True),
        ({"kind": "tpe", "startup": 10}, 9, True),
        ({"kind": "tpe", "startup": 10}, 10, False),
        ({"kind": "random"}, 30, True),
        ({"kind": "qmc"}, 30, True),
        ({"kind": "grid"}, 0, False),
    ],
)
def test_which_draws_no_result_had_a_hand_in(sampler: dict[str, Any], number: int, unseen: bool) -> None:
    assert is_unseen({"sampler": sampler, "start_from": [{}, {}]}, number) is unseen
