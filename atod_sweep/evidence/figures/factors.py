"""Pictures across conditions: does a factor change who is better, and how often does an arm reach a score."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from atod_sweep.evidence.analysis.aggregates import complete_table
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.scores import known_scores
from atod_sweep.evidence.analysis.text import between, plural
from atod_sweep.evidence.figures.style import Figure, hidden, label_axes, legend_below, panels, save, short, styles
from atod_sweep.evidence.stats.aggregate import performance_profile
from atod_sweep.evidence.stats.intervals import t_interval


def interaction(results: Results, folder: Path) -> Figure | None:
    """Every arm's mean at every level of every factor, with intervals; parallel lines mean no interaction."""
    factors = {factor: levels for factor, levels in results.study.factors.items() if len(levels) > 1}
    if not factors:
        return None
    canvas, axes = panels(list(factors))
    looks = {arm: look for arm, look in styles(results).items() if look.shown}
    seeds: list[int] = []
    for axis, (factor, levels) in zip(axes, factors.items(), strict=True):
        axis.set_xticks(range(len(levels)), [short(level, 14) for level in levels])
        for i, (arm, look) in enumerate(looks.items()):
            ats = [{factor: level} for level in levels]
            found = [known_scores(results, arm, at, results.seeds, results.study.metric) for at in ats]
            cells = [t_interval(list(scores.values())) for scores in found]
            seeds += [c.n for c in cells]
            dodge = (i - (len(looks) - 1) / 2) * 0.025
            axis.errorbar(
                np.arange(len(levels)) + dodge,
                [c.estimate for c in cells],
                yerr=[np.nan_to_num(c.half_width) for c in cells],
                color=look.color,
                ls=look.dash,
                marker="o",
                ms=4,
                label=short(arm),
            )
    metric = results.study.measure
    label_axes(axes, "level", metric)
    for axis in axes:
        axis.set_xlabel("level")
    legend_below(canvas, axes)
    caption = (
        f"Mean {metric} and its 95 % interval at every level ({between(seeds, 'seed')}). Lines that run "
        "parallel: the level shifts all arms alike. Lines that cross or spread: it changes who is better."
    )
    return save(
        canvas,
        folder,
        "interaction",
        "Arms across levels",
        caption + hidden(results).replace("are grey", "are left out"),
    )


def profile(results: Results, folder: Path) -> Figure | None:
    """Share of all runs (seeds and conditions) above every score."""
    looks = {arm: look for arm, look in styles(results).items() if look.shown}
    tables = {arm: table for arm in looks if (table := complete_table(results, arm)) is not None}
    if not tables or max(table.size for table in tables.values()) < 3:
        return None
    low, high = min(t.min() for t in tables.values()), max(t.max() for t in tables.values())
    pad = 0.02 * (high - low) + 1e-9
    score_P = np.linspace(low - pad, high + pad, 201)
    canvas, (axis,) = panels([""])
    for arm, table_ST in tables.items():
        share_P = performance_profile(table_ST, score_P)
        axis.step(score_P, share_P, color=looks[arm].color, ls=looks[arm].dash, label=short(arm))
    metric = results.study.measure
    label_axes([axis], metric, "share of runs above")
    legend_below(canvas, [axis])
    runs = plural(max(table.size for table in tables.values()), "run")
    caption = (
        f"The share of an arm's runs (up to {runs}: seeds × conditions) with a higher {metric}. A line above another "
        "at every score is better throughout; lines that cross are not ordered; a step at the far left is a run that "
        "collapsed."
    )
    return save(canvas, folder, "performance_profile", "Performance profile", caption)
