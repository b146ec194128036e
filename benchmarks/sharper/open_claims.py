"""Seeds for the claims that are open alone: what that saves of `run --until-decided`, simulated from recorded studies.

A replay draws seeds of a recorded study with replacement, all arms of a seed together, and looks at its claims after
the study's own seeds and after every block, by the rule of the sequential verdicts. `everything`: as long as any claim
is open, all arms run. `open`: an arm runs on in the settings that an open claim speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atod_sweep.config.study import Metric
from atod_sweep.evidence.analysis.comparisons import compare
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Results, matches
from atod_sweep.evidence.stats.decision import Data, Seed, decide
from atod_sweep.evidence.stats.intervals import Array
from atod_sweep.evidence.stats.procedures import SEQUENCE
from atod_sweep.sweep.studies.until_decided import Rule

STUDIES = Path(__file__).parents[2] / "studies" / "results"


@dataclass(frozen=True)
class Replayed:
    """Mean trials per replay of a study under both rules, and the share of replays that end with a claim open."""

    study: str
    claims: int
    everything: float
    open: float
    undecided: float


def studies() -> list[str]:
    """The recorded studies with claims."""
    found = sorted(path.parent.name for path in STUDIES.glob("*/ledger.jsonl"))
    return [name for name in found if load(STUDIES / name).study.claims]


def replay(study: str, replays: int, rule: Rule) -> Replayed:
    """Both rules on the same draws of the study's seeds."""
    results = load(STUDIES / study)
    cells = [(arm, i) for arm in results.arms for i in range(len(results.conditions))]
    needed = [_cells(results, k) for k in range(len(results.study.claims))]
    difference_KS = _differences(results)
    rng = np.random.default_rng(0)
    first = len(results.study.seeds)
    everything, open_only, undecided = [], [], []
    for _ in range(replays):
        drawn = rng.integers(difference_KS.shape[1], size=rule.max_seeds)
        is_open, seeds, spent = [True] * len(needed), first, [first * len(cells)] * 2
        while True:
            is_open = [o and _undecided(results, k, difference_KS[k, drawn[:seeds]]) for k, o in enumerate(is_open)]
            if not any(is_open) or seeds >= rule.max_seeds:
                break
            block = min(rule.block, rule.max_seeds - seeds)
            wanted = set().union(*(need for need, o in zip(needed, is_open, strict=True) if o))
            spent = [spent[0] + block * len(cells), spent[1] + block * len(wanted)]
            seeds += block
        everything.append(spent[0])
        open_only.append(spent[1])
        undecided.append(any(is_open))
    return Replayed(study, len(needed), *(float(np.mean(x)) for x in (everything, open_only, undecided)))


def _cells(results: Results, claim: int) -> set[tuple[str, int]]:
    h = results.study.claims[claim].hypothesis
    return {
        (arm, i)
        for arm in (h.arm, h.other)
        for i, levels in enumerate(results.conditions)
        if arm in results.arms and matches(levels, h.at)
    }


def _differences(results: Results) -> Array:
    """The difference of every claim (K) on every seed (S) that all of them have."""
    found = []
    for claim in results.study.claims:
        h = claim.hypothesis
        found.append(compare(results, h.arm, h.other, h.at, Metric(name=h.metric)).differences)
    common = sorted(set.intersection(*(set(by_seed) for by_seed in found)))
    return np.array([[by_seed[seed] for seed in common] for by_seed in found])


def _undecided(results: Results, claim: int, differences: Array) -> bool:
    h = results.study.claims[claim].hypothesis
    return decide(h.relation, h.margin, Data([Seed(float(d)) for d in differences]), SEQUENCE).outcome is None
