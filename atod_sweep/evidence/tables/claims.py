"""The table of the claims in numbers."""

from __future__ import annotations

from atod_sweep.evidence.analysis.text import estimate, p_value
from atod_sweep.evidence.analysis.verdicts import Verdict
from atod_sweep.evidence.stats import power
from atod_sweep.evidence.tables.cells import Cell, Table, number_cell, percent_cell


def in_numbers(verdicts: list[Verdict]) -> Table:
    """The verdicts in numbers: difference, p and Holm's p of one and the same test, what the seeds can show."""
    rows = []
    for v in verdicts:
        a, b = zip(*v.comparison.pairs.values(), strict=True) if v.comparison.pairs else ((), ())
        level = " (90 %)" if v.interval.level == 0.9 else ""
        rows.append(
            [
                Cell(v.claim),
                Cell(v.outcome),
                Cell(str(v.n), v.n),
                Cell(f"{estimate(v.difference, 3, signed=True)}{level}", v.difference.estimate),
                Cell(p_value(v.p), v.p),
                Cell(p_value(v.p_holm), v.p_holm),
                number_cell(v.better),
                number_cell(v.detectable),
                percent_cell(v.offset),
                percent_cell(power.variance_removed(a, b)),
            ]
        )
    header = ["claim", "verdict", "seeds", "difference", "p", "p (Holm)"]
    header += ["P(better)", "detectable", "offset by", "pairing removes"]
    tests = " and ".join(dict.fromkeys(v.test for v in verdicts))
    caption = (
        f"Verdict, interval, p and Holm's p are one test's: {tests}. Claims are about seeds that do not collapse: the "
        "interval is that of the seeds on which neither side did (of all, where these are less than half), 90 % for "
        "equalities, and p is the largest over all readings of the data that the verdict must stand up to (collapses "
        "counted in, missing seeds at their worst). Holm: over the claims made beforehand. P(better): probability that "
        "the arm is better on average, given these seeds and no prior opinion. Detectable: distance from the claim's "
        "bound (for an equality, margin) that so many such seeds show with 80 % power. Offset by: share of seeds on "
        "which the better side would have to fall to 0 for the mean over all seeds to favour it no more. Pairing "
        "removes: share of the variance of the difference that common seeds take away."
    )
    return Table(caption, header, rows)
