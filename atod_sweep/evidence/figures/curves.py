"""Line charts over training: what the arms learn, what was applied to them, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from atod_sweep.evidence.analysis.curves import complete, seed_curves, seeds_drawn, stacked
from atod_sweep.evidence.analysis.results import Levels, Results, label
from atod_sweep.evidence.analysis.scores import teacher_level
from atod_sweep.evidence.figures.cost import SAME
from atod_sweep.evidence.figures.style import (
    Figure,
    Style,
    condition_panels,
    hidden,
    label_axes,
    legend_below,
    save,
    short,
    styles,
    together,
)
from atod_sweep.evidence.stats.intervals import Array, t_interval
from atod_sweep.records.metric_names import watched

POINTS = 200  # a line of training steps is thinned to about this many points
FEWEST = 3  # points that make a curve


@dataclass(frozen=True)
class Chart:
    """One quantity against one counter, a line per arm, a panel per condition."""

    name: str
    title: str
    key: str
    y_label: str
    caption: str
    phase: str = "train"
    x: str = "step"
    x_label: str = "optimiser step"


def learning_charts(metric: str) -> list[Chart]:
    """The metric, as evaluations see it, against optimiser steps, environment steps and teacher tokens."""
    metric = watched(metric)
    name = metric.removeprefix("eval/")
    return [
        Chart(
            "learning_curves",
            "Learning curves",
            metric,
            name,
            f"How {name} on held-out tasks grows with training.",
            "eval",
        ),
        Chart(
            "learning_by_env_steps",
            "Learning by environment steps",
            metric,
            name,
            "The same against what was played: arms whose episodes are longer pay more per optimiser step.",
            "eval",
            "cost/env_steps",
            "environment steps",
        ),
        Chart(
            "learning_by_teacher_tokens",
            "Learning by teacher tokens",
            metric,
            name,
            "The same against what the teacher was asked for; an arm that never asks it stands at 0.",
            "eval",
            "cost/teacher_tokens",
            "tokens scored or written by the teacher",
        ),
    ]


SCHEDULE = Chart(
    "schedules",
    "Schedules as applied",
    "weight/distill",
    "teacher's weight λ or κ",
    "Weight of the distillation term as applied, from the trials' records and not from the study file: arms should "
    "differ here as the study means them to, and nowhere else.",
)
TAKEN = Chart(
    "teacher_turns",
    "Turns that the teacher played",
    "teacher_turns",
    "share of turns",
    "In rollouts, as drawn; evaluations are the student's alone.",
)
DEPTH = Chart(
    "depth",
    "Depth of rollouts",
    "depth",
    "turns",
    "Turns of a rollout that the student may play; evaluations go to the horizon.",
)
APPLIED = Chart(
    "applied_teacher_weight",
    "Teacher weight per generated token",
    "weight/applied_teacher",
    "mean weight",
    "What is left of that weight once turn weights are applied; arms may differ in area as well as in shape.",
)
GAP = Chart(
    "teacher_kl",
    "Distance from the teacher",
    "kl/teacher",
    "KL to the teacher (nats / token)",
    "log p(student) - log p(teacher) of the sampled tokens: 0 means that the student has become the teacher; a line "
    "that turns up again leaves it.",
)
PULL = Chart(
    "gradient_distill",
    "Strength of the distillation signal",
    "grad_norm/distill",
    "gradient norm",
    "Norm of the distillation term's own gradient, weight included: how hard the teacher pulls.",
)
PUSH = Chart(
    "gradient_reward",
    "Strength of the reward signal",
    "grad_norm/reward",
    "gradient norm",
    "Norm of the reward term's own gradient, weight included; where it passes the figure above, reward leads.",
)


def draw(results: Results, chart: Chart, folder: Path) -> Figure | None:
    """One figure; None if no complete trial reports the quantity often enough to make a curve.

    None also against a cost that grows alike for all arms: the figure against steps shows the same.
    """
    if _is_idle(results, chart):
        return None
    canvas, axes = condition_panels(results)
    drawn = [_arms(axis, results, levels, chart) for axis, levels in axes]
    if not any(drawn):
        return None
    caption = chart.caption
    if chart.phase == "eval":
        seeds = seeds_drawn(results)
        caption += (
            " One seed." if seeds == "1 seed" else f" Bands: 95 % interval of the mean over {seeds}, point by point."
        )
        lines = [_teacher(axis, results, levels) for axis, levels in axes]
        if any(lines):
            caption += " The dotted line is the teacher itself."
    else:
        caption += f" Mean over {seeds_drawn(results)}."
        for axis, _ in axes:
            axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    if chart.x != "step":
        for axis, _ in axes:
            axis.xaxis.set_major_formatter(EngFormatter(sep=" "))
    label_axes([axis for axis, _ in axes], chart.x_label, chart.y_label)
    legend_below(canvas, [axis for axis, _ in axes])
    return save(canvas, folder, chart.name, chart.title, caption + together(results) + hidden(results))


def _is_idle(results: Results, chart: Chart) -> bool:
    """Whether the chart would show nothing, or nothing but what another one shows."""
    ends: dict[str, list[float]] = {}
    points = 0
    for levels in results.conditions:
        for arm in results.arms:
            x_E, _ = stacked(complete(results, arm, levels), chart.key, chart.phase, chart.x)
            points = max(points, len(x_E))
            if len(x_E):
                ends.setdefault(label(levels), []).append(float(x_E[-1]))
    alike = all(max(costs) - min(costs) <= SAME * max(costs) for costs in ends.values())
    return points < FEWEST or (chart.x != "step" and alike)


def is_plain(results: Results) -> bool:
    """True if turn weights leave the schedules as they are: then `APPLIED` shows what `SCHEDULE` does."""
    for levels in results.conditions:
        for arm in results.arms:
            trials = complete(results, arm, levels)
            (_, weight_SE), (_, applied_SE) = (stacked(trials, chart.key, chart.phase) for chart in (SCHEDULE, APPLIED))
            if weight_SE.shape != applied_SE.shape or not np.allclose(weight_SE, applied_SE, atol=1e-3):
                return False
    return True


def _arms(axis: Axes, results: Results, levels: Levels, chart: Chart) -> bool:
    """Draw every arm's mean curve, grey ones first; True if there was any."""
    drawn = False
    looks = styles(results)
    for arm in sorted(results.arms, key=lambda a: looks[a].shown):
        x_E, y_SE = seed_curves(results, arm, levels, chart.key, chart.phase, chart.x)
        if len(x_E):
            _line(axis, arm, looks[arm], x_E, y_SE, band=chart.phase == "eval")
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


def _teacher(axis: Axes, results: Results, levels: Levels) -> bool:
    metric = results.study.metric.model_copy(update={"name": watched(results.study.metric.name)})
    level = teacher_level(results, levels, metric)
    if np.isnan(level):
        return False
    axis.axhline(level, color="black", ls=":", lw=1.4, label="teacher")
    return True
