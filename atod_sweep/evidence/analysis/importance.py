"""Which parameters of a search mattered: PED-ANOVA over its finished configurations, with how far it can be trusted.

Importance here is what sets the best configurations apart from all of them (arXiv 2304.10255, and 2601.20800 for
conditional parameters; Optuna's implementation). It is no effect size: beside a dominant parameter, others read 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atod_sweep.config.domains import Branch, Choice, Fixed
from atod_sweep.config.search import Objective
from atod_sweep.config.space import parse_parameters
from atod_sweep.evidence.stats.intervals import Array

Row = Mapping[str, Any]

ENOUGH = 30  # finished configurations below which importances are often wrong
FEWEST = 10  # and below which there are none
BEST = 10  # configurations that count as the best, or a tenth if that is more
RESAMPLES = 100


@dataclass(frozen=True)
class Importance:
    """A parameter's share of all importance, 0 to 1.

    `low`, `high`: 5 % and 95 % quantiles over configurations drawn anew with replacement. `noise`: the 95 % quantile of
    what the parameter gets when scores are shuffled; an estimate below it may be chance.
    """

    parameter: str
    estimate: float
    low: float
    high: float
    noise: float


@dataclass(frozen=True)
class Importances:
    """What mattered for one objective, the largest share first; none from fewer than `FEWEST` configurations."""

    objective: Objective
    configurations: int
    records: tuple[Importance, ...]

    @property
    def warning(self) -> str | None:
        """Why not to rely on it; None if there is no such reason."""
        if self.configurations >= ENOUGH:
            return None
        few = f"{self.configurations} configurations finished; "
        if not self.records:
            return f"{few}parameter importance needs at least {FEWEST}, and {ENOUGH} to be relied on"
        return f"{few}below {ENOUGH}, parameter importance is often wrong"


def importances(rows: Sequence[Row], second: bool = False) -> Importances | None:
    """What mattered for the objective (or the second one) of the search in a ledger; None if it holds no such search.

    Only configurations whose seeds all completed count.
    """
    study = next((row for row in reversed(rows) if row["event"] == "study"), {})
    search = study.get("search", {})
    wanted = "second" if second else "metric"
    if not search.get(wanted):
        return None
    objective = Objective.model_validate(search[wanted])
    params = {row["arm"]: row["params"] for row in rows if row["event"] == "configuration"}
    last = {row["arm"]: row for row in rows if row["event"] == "told"}
    told = [row for row in last.values() if row["state"] == "COMPLETE"]
    scores_N = objective.sign * np.array([row["values"][second] for row in told], dtype=np.float64)
    branches = {
        branch.name: branch
        for parameter in parse_parameters(search["parameters"], "parameters")
        for branch in parameter.branches
        if not isinstance(branch.domain, Fixed)
    }
    records = _spread([params[row["arm"]] for row in told], scores_N, branches) if len(told) >= FEWEST else []
    return Importances(objective, len(told), tuple(sorted(records, key=lambda r: -r.estimate)))


def _spread(points: Sequence[Row], scores_N: Array, branches: dict[str, Branch]) -> Iterator[Importance]:
    rng = np.random.default_rng(0)
    n = len(points)
    here = _shares(points, scores_N, branches)
    draws = [rng.integers(n, size=n) for _ in range(RESAMPLES)]
    again = [_shares([points[i] for i in draw], scores_N[draw], branches) for draw in draws]
    shuffled = [_shares(points, rng.permutation(scores_N), branches) for _ in range(RESAMPLES)]
    for name, estimate in here.items():
        low, high = np.quantile([shares.get(name, 0.0) for shares in again], [0.05, 0.95])
        noise = np.quantile([shares[name] for shares in shuffled], 0.95)
        yield Importance(name, estimate, float(low), float(high), float(noise))


def _shares(points: Sequence[Row], scores_N: Array, branches: dict[str, Branch]) -> dict[str, float]:
    """Parameter -> share, for scores of which large ones are good."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.add_trials(
            optuna.trial.create_trial(
                value=float(score),
                params=point,
                distributions={name: _distribution(branches[name]) for name in point},
            )
            for point, score in zip(points, scores_N, strict=True)
        )
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(
            target_quantile=max(0.1, min(0.5, BEST / len(points)))
        )
        found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(share, 12) for name, share in found.items()}  # the last digits differ from CPU to CPU


def _distribution(branch: Branch) -> Any:
    """Steps do not matter here, the scale does."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    domain = branch.domain
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.labels)
    assert not isinstance(domain, Fixed), branch.name
    return FloatDistribution(domain.low, domain.high, log=domain.log)
