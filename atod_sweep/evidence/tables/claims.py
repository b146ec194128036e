"""The table of the claims in numbers."""

from __future__ import annotations

import math

from atod_sweep.evidence.analysis.text import estimate, p_value
from atod_sweep.evidence.analysis.verdicts import Verdict
from atod_sweep.evidence.stats import power, significance
from atod_sweep.evidence.tables.cells import Cell, Table, number_cell, percent_cell


def in_numbers(verdicts: list[Verdict]) -> Table:
    """The verdicts in numbers: difference, exact and Holm-corrected p of the claim, power, gain from pairing."""
    adjusted = significance.holm([v.p if v.registered else math.nan for v in verdicts])
    rows = []
    for v, p_holm in zip(verdicts, adjusted, strict=True):
        a, b = zip(*v.comparison.pairs.values(), strict=True) if v.n else ((), ())
        rows.append(
            [
                Cell(v.claim),
                Cell(v.outcome),
                Cell(str(v.n), v.n),
                Cell(
                    f"{estimate(v.interval, 3, signed=True)}{' (90 %)' if v.interval.level == 0.9 else ''}",
                    v.interval.estimate,
                ),
                Cell(p_value(v.p), v.p),
                Cell(p_value(float(p_holm)), float(p_holm)),
                number_cell(significance.probability_better(v.comparison.values)),
                number_cell(_detectable(v)),
                percent_cell(power.variance_removed(a, b)),
            ]
        )
    header = ["claim", "verdict", "seeds", "difference", "p", "p (Holm)", "P(better)", "detectable", "pairing removes"]
    test = "exact sign-flip test of the claim's bound (two one-sided t tests for equivalence)"
    detectable = " Detectable: the difference that this many seeds see with 80 % power."
    if any(v.sequential for v in verdicts):
        test, detectable = "anytime-valid, of the claim's bound (its interval leaves out what has p < 0.05)", ""
    caption = (
        f"p: {test}; Holm: over the claims made beforehand. P(better): probability that the true mean difference is "
        f"above 0, given these seeds and no prior opinion.{detectable} Pairing removes: share of the variance of the "
        "difference that common seeds take away."
    )
    return Table(caption, header, rows)


def _detectable(v: Verdict) -> float:
    """Nothing where seeds were added on the way: power is that of one look at a fixed number of seeds."""
    return math.nan if v.sequential or v.n < 2 else power.minimum_detectable(v.comparison.spread, v.n)
