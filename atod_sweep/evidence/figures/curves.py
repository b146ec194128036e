"""Line charts over training: what the arms learn, what was applied, and at what cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from atod_sweep.evidence.comparisons import teacher_level
from atod_sweep.evidence.figures.style import Figure, Style, label_axes, legend_below, panels, save, short, styles
from atod_sweep.evidence.results import Levels, Results, Trial
from atod_sweep.evidence.stats.intervals import Array, t_interval

POINTS = 200  # a line of training steps is thinned to about this many points


def learning(results: Results, folder: Path) -> Figure | None:
    """The metric at every evaluation, mean and 95 % band over seeds, with the teacher's own level."""
    key = results.study.metric.name
    canvas, axes = panels(results.conditions)
    drawn = [
        _arms(axis, results, levels, key, "eval", True) for axis, levels in zip(axes, results.conditions, strict=True)
    ]
    if not any(drawn):
        return None
    lines = [_teacher(axis, results, levels) for axis, levels in zip(axes, results.conditions, strict=True)]
    label_axes(axes, "optimiser step", key.removeprefix("eval/"))
    legend_below(canvas, axes)
    teacher = " The dotted line is the teacher itself." if any(lines) else ""
    seeds = len(results.seeds)
    band = (
        f"bands are 95 % intervals of the mean over {seeds} seeds, step by step"
        if seeds > 1
        else "one seed, so no band"
    )
    caption = f"How {key.removeprefix('eval/')} on held-out tasks grows with training; {band}.{teacher}{_grey(results)}"
    return save(canvas, folder, "learning_curves", "Learning curves", caption)


def applied_weight(results: Results, folder: Path) -> Figure | None:
    """The teacher's weight that was in force at every step."""
    canvas, axes = panels(results.conditions)
    drawn = [
        _arms(axis, results, levels, "weight/distill", "train", False)
        for axis, levels in zip(axes, results.conditions, strict=True)
    ]
    if not any(drawn):
        return None
    for axis in axes:
        axis.set_ylim(bottom=0)
    label_axes(axes, "optimiser step", "teacher's weight λ or κ")
    legend_below(canvas, axes)
    caption = (
        "The weight of the distillation term as applied, read from the trials' records and not from the study file; "
        f"arms may differ in shape and in area.{_grey(results)}"
    )
    return save(canvas, folder, "schedules", "Schedules as applied", caption)


def _arms(axis: Axes, results: Results, levels: Levels, key: str, phase: str, band: bool) -> bool:
    """Draw every arm's mean curve, grey ones first; True if there was any."""
    drawn = False
    looks = styles(results)
    for arm in sorted(results.arms, key=lambda a: looks[a].shown):
        x_E, y_SE = stacked([t for t in results.of(arm, levels) if t.state == "COMPLETE"], key, phase)
        if len(x_E):
            _line(axis, arm, looks[arm], x_E, y_SE, band)
            drawn = True
    return drawn


def _line(axis: Axes, arm: str, look: Style, x_E: Array, y_SE: Array, band: bool) -> None:
    keep = np.unique(np.linspace(0, len(x_E) - 1, POINTS).astype(int))
    x_E, y_SE = x_E[keep], y_SE[:, keep]
    name = short(arm) if look.shown else "other arms"
    axis.plot(x_E, y_SE.mean(axis=0), color=look.color, ls=look.dash, label=name, lw=1.8 if look.shown else 0.6)
    if band and look.shown and len(y_SE) > 1:
        limits = [t_interval(y_S) for y_S in y_SE.T]
        axis.fill_between(x_E, [i.low for i in limits], [i.high for i in limits], color=look.color, alpha=0.15, lw=0)


def stacked(trials: list[Trial], key: str, phase: str, x: str = "step") -> tuple[Array, Array]:
    """Curves of several seeds on their common points: `x_E`, `y_SE`; empty if they share none."""
    curves = [curve for t in trials if len((curve := t.curve(key, phase, x)).x)]
    if not curves:
        return np.empty(0), np.empty((0, 0))
    common = curves[0].x
    for curve in curves[1:]:
        common = np.intersect1d(common, curve.x)
    return common, np.array([curve.y[np.isin(curve.x, common)] for curve in curves])


def _teacher(axis: Axes, results: Results, levels: Levels) -> bool:
    level = teacher_level(results, levels, results.study.metric)
    if np.isnan(level):
        return False
    axis.axhline(level, color="black", ls=":", lw=1.4, label="teacher")
    return True


def _grey(results: Results) -> str:
    hidden = sum(not look.shown for look in styles(results).values())
    return f" {hidden} further arms are grey." if hidden else ""
