"""What was lost beside what was gained: changes of the study's metric against those of what nobody trained."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes

from atod_sweep.evidence.analysis.lost import Change, changes, watched
from atod_sweep.evidence.analysis.results import Results, label
from atod_sweep.evidence.figures.style import Figure, Style, hidden, legend_below, panels, save, short, styles
from atod_sweep.records import metric_names

MOST = 6  # panels in one figure


def scatter(results: Results, folder: Path) -> Figure | None:
    """A panel for every watched metric at every condition; None without any."""
    aim = metric_names.watched(results.study.metric.name)
    gained = {(c.arm, label(c.levels)): c for c in changes(results, aim)}
    told = {name: changes(results, name) for name in watched(results)}
    found = {name: [c for c in several if (c.arm, label(c.levels)) in gained] for name, several in told.items()}
    wanted = [(name, levels) for name, several in found.items() if several for levels in results.conditions][:MOST]
    if not wanted:
        return None
    canvas, axes = panels([""] * len(wanted), height=2.9, sharex=False, sharey=False)
    looks = styles(results)
    for axis, (name, levels) in zip(axes, wanted, strict=True):
        axis.set_title(short(", ".join(filter(None, [name, label(levels)])), 44))
        axis.axhline(0, color="black", lw=1)
        axis.axvline(0, color="black", lw=1)
        for c in found[name]:
            if c.levels == levels:
                _point(axis, gained[c.arm, label(levels)], c, looks[c.arm])
        axis.set_xlabel(f"change of {aim.removeprefix('eval/')}")
        axis.set_ylabel("change")
        if found[name][0].sign < 0:
            axis.invert_yaxis()
    legend_below(canvas, axes)
    caption = "From step 0 to the end, with the tables' 95 % intervals; further up is less lost, right more gained."
    return save(canvas, folder, "lost_and_gained", "What was lost, what was gained", caption + hidden(results))


def _point(axis: Axes, gain: Change, loss: Change, look: Style) -> None:
    def bar(half: float) -> list[float] | None:
        return [half] if math.isfinite(half) else None

    axis.errorbar(
        [gain.change.estimate],
        [loss.change.estimate],
        xerr=bar(gain.change.half_width),
        yerr=bar(loss.change.half_width),
        color=look.color,
        marker="o",
        ms=5 if look.shown else 3,
        ls="none",
        label=short(loss.arm) if look.shown else "other arms",
    )
