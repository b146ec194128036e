"""What a search tried, what it chose, and how much of the score it chose by was luck."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from atod_sweep.config.domains import Fixed, Float, Int, Parameter
from atod_sweep.config.search import Objective
from atod_sweep.config.space import parse_parameters
from atod_sweep.evidence.analysis.comparisons import compare, summarise
from atod_sweep.evidence.analysis.front import Front, front
from atod_sweep.evidence.analysis.importance import Importances, importances
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.text import between
from atod_sweep.evidence.analysis.trends import Trend, trends
from atod_sweep.evidence.stats.decision import ALPHA
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.procedures import FEWEST
from atod_sweep.records.ledger_rows import ConfigurationRow, ToldRow


@dataclass(frozen=True)
class Configuration:
    """A point that was tried. `scores`: mean per objective over its `seeds`; None if it failed or is under way.

    `state` is COMPLETE, PRUNED (scores are what it had reached), FAIL, or SILENT: its trials completed, and lack a
    number of an objective.
    """

    arm: str
    values: dict[str, Any]
    state: str
    scores: tuple[float, ...] | None
    seeds: int


@dataclass(frozen=True)
class Chosen:
    """A configuration that ran again: the score it was chosen by, and its result on fresh seeds."""

    arm: str
    searched: float
    confirmed: Interval
    optimism: float  # how much better the search saw it, in units of the metric; NaN without a result on fresh seeds


@dataclass(frozen=True)
class Quote:
    """What the search is worth against the reference, free of the choice among the confirmed.

    `first`: the configuration that it ranked first, before any fresh seed had run, so an ordinary interval is honest;
    without an estimate where that has no result on fresh seeds, for the next one is not the search's choice.
    `best`: the one that did best on the fresh seeds, which is the luckiest as well; its interval (`n` fresh seeds) is
    one of all `candidates` at once (Bonferroni), so that it holds whichever was picked. Differences to the reference in
    the metric's good direction.
    """

    first: str
    first_gain: Interval
    best: str
    best_gain: Interval
    candidates: int

    @property
    def told_apart(self) -> bool:
        """Whether the first choice is shown to be better than the reference, or worse."""
        return self.first_gain.n >= FEWEST and self.first_gain.excludes(0.0)


@dataclass(frozen=True)
class Searched:
    """A search. `keys`: the parameters that vary; `log`: those among them on a logarithmic scale.

    `racing`: configurations earned their seeds one by one; else all had the same.
    """

    objectives: tuple[Objective, ...]
    racing: bool
    keys: tuple[str, ...]
    log: frozenset[str]
    configurations: tuple[Configuration, ...]
    chosen: tuple[Chosen, ...]
    importances: tuple[Importances, ...]  # per objective
    front: Front | None
    quote: Quote | None
    trends: tuple[tuple[Trend, ...], ...]  # per objective
    on_fresh_tasks: bool  # fresh seeds are judged by final sets, and not by what the search went by

    @property
    def over_seeds(self) -> str:
        """Over how many seeds scores are means: "2 seeds", "1 to 6 seeds"."""
        scored = [c for c in self.configurations if c.scores is not None] or self.configurations
        return between((c.seeds for c in scored), "seed")

    @property
    def ranked(self) -> list[Configuration]:
        """Complete ones first and the best of them first, by the first objective; failed ones last."""
        sign = self.objectives[0].sign
        return sorted(
            self.configurations,
            key=lambda c: (c.state != "COMPLETE", c.scores is None, -sign * c.scores[0] if c.scores else 0.0),
        )


def searched(results: Results) -> Searched | None:
    """The search of a run; None for a study."""
    search = results.study.latest.get("search")
    proposed = [row for row in results.ledger if row["event"] == "configuration"]
    if not search or not proposed:
        return None
    objectives = tuple(Objective.model_validate(search[key]) for key in ("metric", "second") if search.get(key))
    told = {row["arm"]: row for row in results.ledger if row["event"] == "told"}
    budget = search["budget"]
    racing = budget.get("racing") is not None
    ran = Counter(trial.arm for trial in results.explored if trial.state == "COMPLETE")
    whole = set(ran) - {trial.arm for trial in results.explored if trial.state != "COMPLETE"}
    configurations = tuple(
        _configuration(row, told.get(row["arm"]), ran[row["arm"]] if racing else budget["seeds"], row["arm"] in whole)
        for row in proposed
    )
    by_arm = {c.arm: c for c in configurations}
    parameters = [p for p in parse_parameters(search["parameters"], "parameters") if not _is_fixed(p)]
    chosen = tuple(_chosen(results, c, objectives[0]) for arm in results.study.arms if (c := by_arm.get(arm)))
    return Searched(
        objectives=objectives,
        racing=racing,
        keys=tuple(p.key for p in parameters),
        log=frozenset(p.key for p in parameters if _is_log(p)),
        configurations=configurations,
        chosen=chosen,
        importances=tuple(f for second in (False, True) if (f := importances(results.ledger, second))),
        front=front(results.ledger),
        quote=_quote(results, chosen, objectives[0], racing),
        trends=tuple(tuple(trends(results.ledger, second)) for second in (False, True)[: len(objectives)]),
        on_fresh_tasks=results.study.metric.name != objectives[0].name,
    )


def _configuration(row: ConfigurationRow, told: ToldRow | None, seeds: int, is_whole: bool) -> Configuration:
    scores = tuple(told["values"]) if told and told["values"] else None
    state: str = told["state"] if told else "RUNNING"
    state = "SILENT" if state == "FAIL" and is_whole else state
    return Configuration(row["arm"], row["values"], state, scores, seeds)


def _chosen(results: Results, c: Configuration, objective: Objective) -> Chosen:
    confirmed = summarise(results, c.arm, {}).interval
    before = c.scores[0] if c.scores else math.nan
    return Chosen(c.arm, before, confirmed, objective.sign * (before - confirmed.estimate))


def _quote(results: Results, chosen: tuple[Chosen, ...], objective: Objective, racing: bool) -> Quote | None:
    """None without a reference, or a configuration, that has results on fresh seeds."""
    versus = {c.arm: compare(results, c.arm, results.study.reference, {}, results.study.metric) for c in chosen}
    gains = {arm: c.gain(1 - ALPHA) for arm, c in versus.items() if c.values}
    if not gains:
        return None
    # as the search ranked them; that of a race is not by the mean alone
    first = (chosen[0] if racing else max(chosen, key=lambda c: objective.sign * c.searched)).arm
    best = max(gains, key=lambda arm: gains[arm].estimate)
    return Quote(
        first,
        gains.get(first, Interval(math.nan, math.nan, math.nan, 0)),
        best,
        versus[best].gain(1 - ALPHA / len(gains)),
        len(gains),
    )


def _is_fixed(parameter: Parameter) -> bool:
    return all(isinstance(branch.domain, Fixed) for branch in parameter.branches)


def _is_log(parameter: Parameter) -> bool:
    ranges = [b.domain for b in parameter.branches if isinstance(b.domain, Float | Int)]
    return bool(ranges) and all(domain.log for domain in ranges)


def short_names(keys: tuple[str, ...]) -> dict[str, str]:
    """Each dotted key by its shortest ending that no other key shares: `lr`, `distill_weight.kind`."""
    found = {}
    for key in keys:
        parts = key.split(".")
        endings = [".".join(parts[i:]) for i in range(len(parts) - 1, -1, -1)]
        others = [other for other in keys if other != key]
        found[key] = next((e for e in endings if not any(f".{other}".endswith(f".{e}") for other in others)), key)
    return found
