"""The Pareto front of a ledger: by hand, and out of a real search."""

from __future__ import annotations

import pytest

from atod_sweep.evidence.analysis.front import front


def study(**changes):
    search = {
        "metric": {"name": "eval/success", "last": 1, "mode": "max"},
        "second": {"name": "cost/env_steps", "last": 1, "mode": "min"},
        "budget": {"seeds": 2},
    }
    return {"event": "study", "arms": ["reference", "c000"], "seeds": [1000, 1001], "search": search | changes}


def told(arm, values, state="COMPLETE"):
    return {"event": "told", "arm": arm, "state": state, "values": values}


def trial(arm, seed, score, second, state="COMPLETE"):
    return {
        "event": "trial",
        "phase": "confirm",
        "arm": arm,
        "seed": seed,
        "state": state,
        "score": score,
        "second": second,
    }


TOLD = [
    told("c000", [0.9, 500.0]),
    told("c001", [0.8, 100.0]),
    told("c002", [0.7, 400.0]),  # beaten by c001
    told("c003", [0.9, 600.0]),  # beaten by c000
    told("c004", [0.9, 500.0]),  # equal to c000: neither beats the other
    told("c005", [0.95, 50.0], "PRUNED"),  # it did not run to its end
    told("c006", None, "FAIL"),
]


def test_the_front_of_the_search_holds_what_nothing_beats_in_both():
    found = front([study(), *TOLD])
    assert [p.arm for p in found.searched if p.on_front] == ["c000", "c001", "c004"]
    assert [p.arm for p in found.searched if not p.on_front] == ["c002", "c003"]
    assert found.searched[1].values == (0.8, 100.0)
    assert {p.seeds for p in found.searched} == {2}
    assert [o.mode for o in found.objectives] == ["max", "min"]
    assert found.confirmed == ()


def test_confirmed_points_are_means_over_all_fresh_seeds_or_none():
    rows = [
        study(),
        *TOLD,
        trial("reference", 1000, 0.5, 100.0),
        trial("reference", 1001, 0.7, 300.0),
        trial("c000", 1000, 0.8, 100.0),
        trial("c000", 1001, None, None, "RUNNING"),
    ]
    (point,) = front(rows).confirmed
    assert (point.arm, point.values, point.seeds, point.on_front) == ("reference", (pytest.approx(0.6), 200.0), 2, True)
    both = front([*rows, trial("c000", 1001, 0.6, 300.0)]).confirmed
    assert {p.arm: p.on_front for p in both} == {"reference": False, "c000": True}  # 0.7 against 0.6 at equal cost


def test_one_objective_or_no_search_has_no_front():
    assert front([study(second=None), told("c000", [0.9])]) is None
    assert front([{"event": "study", "arms": ["a"], "seeds": [0]}]) is None
