"""The opening picture: every claim in its own direction, with its margin and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from atod_sweep.evidence.analysis.claim_groups import Group, groups, is_firm, short_claim, word
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.text import between, number
from atod_sweep.evidence.analysis.verdict import Outcome, Verdict
from atod_sweep.evidence.figures import reach
from atod_sweep.evidence.figures.style import GREY, Canvas, Figure, save, short, styles
from atod_sweep.evidence.stats.decision import bound
from atod_sweep.records.metric_names import unit, watched

MOST = 8  # claims in the picture
WIDTH = 5.2  # inches: narrower than other figures, so that its words can still be read on a phone
CHARACTERS = 62  # that fit into the line over a claim's bar
ROW = 0.44  # inches per claim, for its words and its bar
INK: dict[Outcome, str] = {
    "supported": "#00543D",
    "refuted": "#7D2F00",
    "equivalent": "#003F66",
    "undecided": "#5B6470",
    "not learning": "#6B4A00",
}


# A line of the picture: the title of a group, or a claim, behind where it is, counted in claims from the top.
Row = tuple[float, str | Verdict]


def forest(results: Results, verdicts: Sequence[Verdict], folder: Path) -> Figure | None:
    """Effect of every claim with the interval that decides it, and the margin; None without claims that have data."""
    shown = _chosen([v for v in verdicts if v.n])
    if not shown:
        return None
    panels: dict[str, list[Group]] = {}
    for group in groups(shown):
        panels.setdefault(group.metric, []).append(group)
    rows = {metric: _rows(found) for metric, found in panels.items()}
    heights = [sum(0.7 if isinstance(what, str) else 1.0 for _, what in found) for found in rows.values()]
    canvas = Canvas(figsize=(WIDTH, ROW * sum(heights) + 0.55 * len(rows)), layout="constrained")
    grid = canvas.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    looks = {arm: look.color for arm, look in styles(results).items()}
    is_cut = [
        _panel(axis, metric, found, height, looks)
        for axis, (metric, found), height in zip(grid, rows.items(), heights, strict=True)
    ]
    caption = _caption(shown) + (" An arrow tells a value beyond the axis." if any(is_cut) else "")
    if len(shown) < len(verdicts):
        caption += f" {len(shown)} of {len(verdicts)} claims, the decided ones first; all of them are listed below."
    return save(canvas, folder, "claims", "The claims", caption)


def _chosen(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """All claims, or of too many the decided ones and those nearest to a decision, in the study's order."""
    first = sorted(verdicts, key=lambda v: (not is_firm(v), v.holds is None, math.isnan(v.p), v.p))[:MOST]
    return [v for v in verdicts if any(v is one for one in first)]


def _rows(found: list[Group]) -> list[Row]:
    rows: list[Row] = []
    y = 0.0
    for group in found:
        if group.title:
            rows.append((y, group.title))
            y += 0.7
        for v in group.verdicts:
            rows.append((y, v))
            y += 1
    return rows


def _panel(axis: Axes, metric: str, rows: list[Row], height: float, looks: dict[str, str]) -> bool:
    """Draw the claims about one metric; True if some value lies beyond the axis."""
    judged = [what for _, what in rows if not isinstance(what, str)]
    where = reach.span(
        [(v.interval, v.data.main.tolist()) for v in judged],
        [sign * v.hypothesis.margin for v in judged for sign in (-1, 1)],
    )
    axis.set_xlim(where.low, where.high)
    axis.set_ylim(height, 0)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.axvline(0, color="black", lw=1)
    for y, what in rows:
        if isinstance(what, str):
            axis.text(0, y + 0.42, short(what, 60), transform=axis.get_yaxis_transform(), weight="bold", va="center")
        else:
            _claim(axis, where, y, what, looks.get(what.hypothesis.arm, "black"))
    name = watched(metric).removeprefix("eval/") + (" on fresh tasks" if metric.startswith("final/") else "")
    measure = f"{name} ({unit(metric)})" if unit(metric) not in ("", "share", name) else name
    axis.set_xlabel(f"difference in {measure}, in the claim's direction")
    drawn = [x for v in judged for x in (*v.data.all.tolist(), v.interval.low, v.interval.high)]
    return not all(math.isnan(x) or where.holds(x) for x in drawn)


def _claim(axis: Axes, where: reach.Span, y: float, v: Verdict, color: str) -> None:
    words, line, seeds = y + 0.24, y + 0.62, y + 0.84
    across = axis.get_yaxis_transform()
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    told = word(v)
    claim = short(short_claim(v), max(16, CHARACTERS - len(told)))
    if len(claim) + len(told) + 8 <= CHARACTERS:
        told += f"  {number(v.interval.estimate, 3, signed=True)}"
    axis.text(0, words, claim, transform=across, va="center", ha="left", fontsize=9.5, bbox=box)
    axis.text(1, words, told, transform=across, va="center", ha="right", fontsize=9, color=INK[v.outcome], bbox=box,
              weight="bold" if is_firm(v) else "normal")  # fmt: skip
    margin = v.hypothesis.margin
    if margin:
        axis.fill_between([-margin, margin], line - 0.2, line + 0.2, color=GREY, alpha=0.28, lw=0, zorder=0)
        if v.hypothesis.relation != "=":
            edge = bound(v.hypothesis.relation, margin)
            axis.plot([edge, edge], [line - 0.2, line + 0.2], color="black", lw=1.2)
    reach.bar(axis, where, v.interval, line, color, "D" if v.comparison.missing else "o")
    collapsed = [s.arm_collapsed or s.other_collapsed for s in v.data.seeds]
    reach.dots(axis, where, v.data.all.tolist(), seeds, color, collapsed)


def _caption(shown: Sequence[Verdict]) -> str:
    seeds = between((v.n for v in shown), "seed")
    levels = "95 % interval (90 % for equalities)" if any(v.interval.level == 0.9 for v in shown) else "95 % interval"
    text = (
        "Every claim in its own direction: right of the line speaks for it, left against it. "
        + (
            f"Dot and bar: mean and the {levels} that decides it ({seeds}); small dots: single seeds; "
            if any(v.n > 1 for v in shown)
            else "Dot: the one seed; "
        )
        + "colours: the claim's arm."
    )
    if any(v.hypothesis.margin for v in shown):
        text += " Grey: the claim's margin; a bar inside it shows that there is no difference that matters."
    if any(s.arm_collapsed or s.other_collapsed for v in shown for s in v.data.seeds):
        text += " Hollow: a seed that collapsed."
    if any(v.comparison.missing for v in shown):
        text += " Diamonds: seeds are missing."
    return text
