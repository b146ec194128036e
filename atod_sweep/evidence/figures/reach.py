"""How far an axis of differences reaches: no outlier sets it, and what lies beyond is an arrow with its value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from atod_sweep.evidence.analysis.text import number
from atod_sweep.evidence.stats.intervals import Interval

FAR_SEED = 4.0  # median absolute deviations (in sd) from its row's median at which a seed no longer sets the axis
FAR_ROW = 3.0  # times the median row's reach at which a row no longer does


@dataclass(frozen=True)
class Span:
    """The part of the axis that is shown."""

    low: float
    high: float

    def holds(self, x: float) -> bool:
        """Whether there is room for a value."""
        return self.low <= x <= self.high

    def edge(self, x: float) -> float:
        """Where a value is drawn: at the end of the axis if it lies beyond."""
        return min(max(x, self.low), self.high)


def span(rows: Sequence[tuple[Interval, Sequence[float]]], also: Iterable[float] = ()) -> Span:
    """Room for 0, the values in `also`, and all rows (an interval and its seeds) but outliers among rows and seeds."""
    hulls = [hull for interval, seeds in rows if (hull := _hull(interval, seeds))]
    reach = [max(abs(low), abs(high)) for low, high in hulls]
    most = FAR_ROW * float(np.median(reach)) if len(reach) > 2 else math.inf
    kept = [hull for hull, far in zip(hulls, reach, strict=True) if far <= most]
    ends = [0.0, *also, *(end for hull in kept for end in hull)]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.01
    return Span(low - pad, high + pad)


def _hull(interval: Interval, seeds: Sequence[float]) -> tuple[float, float] | None:
    x_N = np.array(seeds, dtype=np.float64)
    if not len(x_N):
        return None
    away_N = np.abs(x_N - np.median(x_N))
    near = x_N[away_N <= FAR_SEED * 1.4826 * np.median(away_N) + 1e-12]
    ends = [*near.tolist(), *(end for end in (interval.low, interval.high) if math.isfinite(end))]
    return min(ends), max(ends)


def dots(axis: Axes, where: Span, values: Sequence[float], y: float, color: str, hollow: Sequence[bool] = ()) -> None:
    """Seeds as small dots, hollow ones where asked; those beyond the axis as one arrow with the farthest value."""
    for i, x in enumerate(values):
        if where.holds(x):
            face = "none" if i < len(hollow) and hollow[i] else color
            axis.scatter([x], [y], s=12, facecolors=face, edgecolors=color, alpha=0.6, lw=0.8)
    if not any(map(where.holds, values)) and len(values) > 1:
        return  # their mean is an arrow already
    for beyond in ([x for x in values if x < where.low], [x for x in values if x > where.high]):
        if beyond:
            _arrow(axis, where, max(beyond, key=abs), y, color, f" ({len(beyond)} seeds)" if len(beyond) > 1 else "")


def bar(axis: Axes, where: Span, interval: Interval, y: float, color: str, marker: str = "o") -> None:
    """An interval with its mean; the part beyond the axis is cut, and an arrow tells a mean that lies there."""
    if not math.isnan(interval.low):
        ends = [where.edge(interval.low), where.edge(interval.high)]
        axis.plot(ends, [y, y], color=color, lw=2.6, solid_capstyle="butt")
        for end, arrow in ((interval.low, "<"), (interval.high, ">")):
            if (end < where.low) if arrow == "<" else (end > where.high):
                axis.plot([where.edge(end)], [y], marker=arrow, ms=5, color=color, clip_on=False)
    if where.holds(interval.estimate):
        axis.scatter([interval.estimate], [y], s=44, color=color, zorder=3, marker=marker)
    else:
        _arrow(axis, where, interval.estimate, y, color, "")


def _arrow(axis: Axes, where: Span, x: float, y: float, color: str, more: str) -> None:
    left = x < where.low
    axis.plot([where.edge(x)], [y], marker="<" if left else ">", ms=5, color=color, clip_on=False)
    text = f"{number(x, 2, signed=True)}{more}"
    offset = (6, 0) if left else (-6, 0)
    axis.annotate(
        text, (where.edge(x), y), offset, textcoords="offset points", ha="left" if left else "right", va="center",
        fontsize=8, color=color, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.9}, zorder=4,
    )  # fmt: skip
