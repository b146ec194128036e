"""A look at the claims of a run to which seeds are added until they are decided: what the ledger gets to know of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.verdicts import Verdict, judge
from atod_sweep.evidence.stats.sequential import RULE


def look(run_dir: Path) -> dict[str, Any]:
    """The rule, its verdict on every claim from what the run's files hold, and whether more seeds could change one."""
    verdicts = judge(load(run_dir))
    undecided = [verdict.hypothesis for verdict in verdicts if verdict.outcome == "undecided"]
    return {
        "rule": RULE,
        "verdicts": [_plain(verdict) for verdict in verdicts],
        "open": [{"arms": [h.arm, h.other], "at": dict(h.at)} for h in undecided],
        "decided": not undecided,
    }


def _plain(verdict: Verdict) -> dict[str, Any]:
    """Numbers that JSON has no name for (the interval of two seeds is infinite) become null."""
    interval = verdict.interval
    numbers = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {"claim": verdict.claim, "outcome": verdict.outcome, "n": verdict.n, **finite}
