"""Parameter importance: what decides the score comes first, what does not lies within the noise, small numbers warn."""

from __future__ import annotations

import numpy as np
import pytest

from atod_sweep.evidence.analysis import importance
from atod_sweep.evidence.analysis.importance import importances

PARAMETERS = {
    "optimiser.lr": {"float": [1e-4, 1e-2], "log": True},
    "update.epochs": {"int": [1, 4]},
    "objective.kl_penalty.kind": {"choice": ["none", "k2"]},
    "objective.kl_penalty.coef": {"when": {"kind": "k2"}, "float": [0.001, 0.1], "log": True},
}


def ledger_of(n, score, second=None):
    """Rows of a search that drew `n` configurations at random."""
    rng = np.random.default_rng(1)
    search = {"metric": {"name": "eval/success", "last": 1, "mode": "max"}, "second": None, "parameters": PARAMETERS}
    if second is not None:
        search["second"] = {"name": "kl/reference", "last": 1, "mode": "min"}
    rows = [{"event": "study", "search": search}]
    for i in range(n):
        params = {
            "optimiser.lr": float(10 ** rng.uniform(-4, -2)),
            "update.epochs": int(rng.integers(1, 5)),
            "objective.kl_penalty.kind": ["none", "k2"][rng.integers(2)],
        }
        if params["objective.kl_penalty.kind"] == "k2":
            params["objective.kl_penalty.coef"] = float(10 ** rng.uniform(-3, -1))
        values = [score(params), *([second(params)] if second else [])]
        rows.append({"event": "configuration", "arm": f"c{i:03d}", "params": params})
        rows.append({"event": "told", "arm": f"c{i:03d}", "state": "COMPLETE", "values": values})
    return rows


def rate(params):
    return float(np.log10(params["optimiser.lr"]))


def test_what_decides_the_score_comes_first_and_the_rest_is_within_the_noise(monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 30)
    found = importances(ledger_of(60, rate))
    first, *rest = found.records
    assert first.parameter == "optimiser.lr"
    assert first.low > 0.5
    assert first.estimate > first.noise
    assert {r.parameter for r in rest} == {
        "update.epochs",
        "objective.kl_penalty.kind",
        "objective.kl_penalty.coef",
    }
    assert all(r.estimate < r.noise for r in rest)
    assert all(0 <= r.low <= r.high <= 1 for r in found.records)
    assert sum(r.estimate for r in found.records) == pytest.approx(1.0)
    assert (found.configurations, found.warning) == (60, None)


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 5)


@pytest.mark.usefixtures("few_resamples")
def test_each_objective_has_its_own():
    rows = ledger_of(40, rate, second=lambda params: -float(params["update.epochs"]))
    assert importances(rows).records[0].parameter == "optimiser.lr"
    found = importances(rows, second=True)
    assert found.records[0].parameter == "update.epochs"
    assert found.objective.name == "kl/reference"
    assert importances(ledger_of(10, rate), second=True) is None


@pytest.mark.usefixtures("few_resamples")
def test_few_configurations_are_warned_about_and_very_few_give_none():
    assert importances(ledger_of(29, rate)).warning == (
        "29 configurations finished; below 30, parameter importance is often wrong"
    )
    few = importances(ledger_of(9, rate))
    assert few.records == ()
    assert "needs at least 10" in few.warning


@pytest.mark.usefixtures("few_resamples")
def test_only_whole_configurations_count():
    rows = ledger_of(20, rate)
    for row in rows[-10:]:
        if row["event"] == "told":
            row["state"] = "PRUNED"
    assert importances(rows).configurations == 15
    assert importances([{"event": "study"}]) is None
