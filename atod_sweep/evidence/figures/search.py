"""Pictures of a search: every configuration by one parameter at a time, what mattered, and the front of two aims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from atod_sweep.evidence.analysis.front import Front, Point
from atod_sweep.evidence.analysis.importance import ENOUGH, Importances
from atod_sweep.evidence.analysis.searches import Configuration, Searched, short_names
from atod_sweep.evidence.analysis.text import plural
from atod_sweep.evidence.figures.style import GREY, PALETTE, WIDTH, Canvas, Figure, legend_below, panels, save, short

BLUE, ORANGE = PALETTE[0], PALETTE[1]
MOST = 12  # parameters in the figure of slices


def slices(found: Searched, folder: Path) -> Figure | None:
    """Every configuration's score against each parameter."""
    tried = [c for c in found.configurations if c.scores is not None]
    keys = [key for key in found.keys if any(key in c.values for c in tried)]
    if not keys:
        return None
    names = short_names(found.keys)
    chosen = {c.arm for c in found.chosen}
    canvas, axes = panels([names[key] for key in keys[:MOST]], height=1.7, sharex=False)
    for axis, key in zip(axes, keys, strict=False):
        _slice(axis, [c for c in tried if key in c.values], key, chosen, key in found.log)
    metric = found.objectives[0].name.removeprefix("eval/")
    for axis in axes[::2]:
        axis.set_ylabel(metric)
    legend_below(canvas, axes)
    caption = (
        f"{plural(len(tried), 'configuration')}, each a mean over {found.over_seeds}, against one parameter "
        "at a time. Look for values that good configurations share; the other parameters vary along, and the sampler "
        "prefers what did well, so a slope is not yet an effect."
    )
    if len(keys) > MOST:
        caption += f" The first {MOST} of {len(keys)} parameters."
    return save(canvas, folder, "slices", "Slices through the search", caption)


def _slice(axis: Axes, tried: list[Configuration], key: str, chosen: set[str], log: bool) -> None:
    values = [c.values[key] for c in tried]
    score_N = np.array([c.scores[0] for c in tried if c.scores])
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numeric:
        x_N = np.array(values, dtype=np.float64)
        axis.set_xscale("log" if log else "linear")
    else:
        words = list(dict.fromkeys(map(str, values)))
        x_N = np.array([words.index(str(v)) + 0.3 * (i % 7 / 6 - 0.5) for i, v in enumerate(values)])
        axis.set_xticks(range(len(words)), [short(word, 14) for word in words])
        axis.set_xlim(-0.5, len(words) - 0.5)
    axis.margins(0.06, 0.1)
    complete_N = np.array([c.state == "COMPLETE" for c in tried])
    picked_N = np.array([c.arm in chosen for c in tried])
    kinds: list[tuple[NDArray[np.bool_], dict[str, Any]]] = [
        (~complete_N, {"edgecolors": GREY, "facecolors": "none", "s": 14, "label": "stopped early"}),
        (complete_N & ~picked_N, {"color": BLUE, "s": 14, "alpha": 0.7, "lw": 0, "label": "complete"}),
        (picked_N, {"color": ORANGE, "s": 34, "marker": "D", "label": "chosen, run again on fresh seeds"}),
    ]
    for which_N, look in kinds:
        if which_N.any():
            axis.scatter(x_N[which_N], score_N[which_N], **look)


def importance(found: Importances, folder: Path, name: str) -> Figure | None:
    """Bars with their spread, and what chance alone would give."""
    if not found.records:
        return None
    names = short_names(tuple(record.parameter for record in found.records))
    canvas = Canvas(figsize=(WIDTH, 0.9 + 0.3 * len(found.records)), layout="constrained")
    axis = canvas.subplots()
    for row, record in enumerate(found.records):
        axis.barh(row, record.estimate, height=0.55, color=BLUE, alpha=0.55)
        axis.plot([record.low, record.high], [row, row], color="black", lw=1.4)
        axis.plot([record.noise] * 2, [row - 0.36, row + 0.36], color=ORANGE, lw=2.2)
    axis.set_yticks(range(len(found.records)), [short(names[r.parameter], 34) for r in found.records])
    axis.set_ylim(len(found.records) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_xlim(0, 1)
    axis.set_xlabel(f"share of importance for {found.objective.name.removeprefix('eval/')}")
    above = sum(record.estimate > record.noise for record in found.records)
    caption = (
        f"What sets the best configurations apart (PED-ANOVA, {plural(found.configurations, 'complete configuration')})"
        ". Black: 5 % to 95 % over configurations drawn anew. Orange: what chance alone reaches one time in twenty; "
        f"{above} of {plural(len(found.records), 'parameter')} {'is' if above == 1 else 'are'} beyond it. Importance "
        "is no effect: beside a dominant parameter, others read 0."
    )
    if found.configurations < ENOUGH:
        caption += f" Below {ENOUGH} configurations this is often wrong."
    return save(canvas, folder, name, "Parameter importance", caption)


def front(found: Front, folder: Path) -> Figure | None:
    """The plane of two objectives: every configuration, the front, and the chosen ones on fresh seeds."""
    if not found.searched:
        return None
    canvas, (axis,) = panels([""], height=3.2)
    best = sorted((p for p in found.searched if p.on_front), key=lambda p: p.values[1])
    rest = [p for p in found.searched if not p.on_front]
    axis.scatter(*_xy(rest), s=16, color=GREY, alpha=0.8, lw=0, label="configuration")
    axis.plot(*_xy(best), color=BLUE, marker="o", ms=5, lw=1.2, label="front of the search")
    if found.confirmed:
        axis.scatter(*_xy(found.confirmed), s=44, color=ORANGE, marker="D", label="on fresh seeds", zorder=3)
        for p in found.confirmed:
            axis.annotate(short(p.arm, 16), (p.values[1], p.values[0]), (5, 5), textcoords="offset points", fontsize=8)
    first, second = found.objectives
    axis.set_ylabel(f"{first.name.removeprefix('eval/')} ({_good(first.sign, 'up')} is better)")
    axis.set_xlabel(f"{second.name.removeprefix('eval/')} ({_good(second.sign, 'right')} is better)")
    if max(p.values[1] for p in found.searched) >= 1e4:
        axis.xaxis.set_major_formatter(EngFormatter(sep=" "))
    legend_below(canvas, [axis])
    seeds, fresh = found.searched[0].seeds, found.confirmed[0].seeds if found.confirmed else 0
    caption = (
        f"{plural(len(found.searched), 'configuration')} (means over {plural(seeds, 'seed')}); on the line, none is "
        "better in both. A front of noisy means is too good: "
        + (f"see how far the diamonds ({plural(fresh, 'fresh seed')}) fall short." if fresh else "none is confirmed.")
    )
    return save(canvas, folder, "pareto_front", "Pareto front", caption)


def _xy(points: list[Point] | tuple[Point, ...]) -> tuple[list[float], list[float]]:
    return [p.values[1] for p in points], [p.values[0] for p in points]


def _good(sign: float, positive: str) -> str:
    return positive if sign > 0 else {"up": "down", "right": "left"}[positive]
