"""What success costs: every arm against environment steps and teacher tokens, and the arms that no other beats."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from atod_sweep.config.search import layers
from atod_sweep.evidence.analysis.comparisons import ArmSummary
from atod_sweep.evidence.analysis.results import Results, label
from atod_sweep.evidence.analysis.text import between
from atod_sweep.evidence.figures.style import WIDTH, Canvas, Figure, Style, hidden, legend_below, save, short, styles

COUNTERS = {"env_steps": "environment steps", "teacher_tokens": "teacher tokens"}
MOST = 4  # conditions in one figure
SAME = 0.05  # share of the largest cost by which costs may differ and still be the same


def on_front(arms: list[ArmSummary], counter: str, sign: float) -> list[ArmSummary]:
    """The arms that no other beats in both mean result and mean cost, the cheapest first."""
    points = {s.arm: (sign * s.interval.estimate, -s.cost[counter]) for s in arms if s.scores and counter in s.cost}
    rank = layers(points)
    return sorted((s for s in arms if rank.get(s.arm) == 0), key=lambda s: s.cost[counter])


def scatter(results: Results, arms: list[ArmSummary], folder: Path) -> Figure | None:
    """Result against cost at every condition; None with fewer than two arms, or where all cost the same."""
    counters = [key for key in COUNTERS if _differs([s.cost[key] for s in arms if s.scores and key in s.cost])]
    conditions = [c for c in results.conditions if sum(bool(s.scores) for s in arms if s.levels == c) > 1][:MOST]
    if not counters or not conditions:
        return None
    canvas = Canvas(figsize=(WIDTH, 2.6 * len(conditions) + 0.6), layout="constrained")
    grid = canvas.subplots(len(conditions), len(counters), sharex="col", sharey="row", squeeze=False)
    looks = styles(results)
    for row, levels in zip(grid, conditions, strict=True):
        here = [s for s in arms if s.levels == levels and s.scores]
        row[0].set_ylabel(results.study.measure)
        row[0].set_title(short(label(levels), 38))
        for axis, counter in zip(row, counters, strict=True):
            _panel(axis, here, counter, looks, results.study.sign)
    for axis, counter in zip(grid[-1], counters, strict=True):
        axis.set_xlabel(COUNTERS[counter])
        axis.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axis.xaxis.set_major_locator(MaxNLocator(5))
        most = max(s.cost.get(counter, 0.0) for s in arms) or 1.0
        axis.set_xlim(-0.05 * most, 1.08 * most)  # from 0 on: what costs nearly the same shall look so
    legend_below(canvas, list(grid.flat))
    seeds = between((len(s.scores) for s in arms), "seed")
    caption = (
        f"Each arm's mean and its 95 % interval over {seeds} against the mean cost of one "
        "run; up and left is better. The grey line joins the arms that no other beats in both, judged by means alone: "
        "where bars overlap, the order is open."
    )
    if len(conditions) < len(results.conditions):
        caption += f" {len(conditions)} of {len(results.conditions)} conditions."
    return save(canvas, folder, "success_by_cost", "Success against cost", caption + hidden(results))


def _differs(costs: list[float]) -> bool:
    """Whether arms differ in what they cost by enough to show: one column of points says nothing about cost."""
    return len(costs) > 1 and max(costs) - min(costs) > SAME * max(costs)


def _panel(axis: Axes, arms: list[ArmSummary], counter: str, looks: dict[str, Style], sign: float) -> None:
    front = on_front(arms, counter, sign)
    axis.plot([s.cost[counter] for s in front], [s.interval.estimate for s in front], color="#777777", lw=1, zorder=1)
    for s in (s for s in arms if counter in s.cost):
        look, half = looks[s.arm], s.interval.half_width
        axis.errorbar(
            [s.cost[counter]],
            [s.interval.estimate],
            yerr=[half] if math.isfinite(half) else None,
            color=look.color,
            marker="s" if s.role == "control" else "o",
            ms=5 if look.shown else 3,
            ls="none",
            label=short(s.arm) if look.shown else "other arms",
        )
