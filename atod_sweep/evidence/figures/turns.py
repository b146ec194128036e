"""What happens by turn: the teacher's weight by step and turn, and where episodes end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from atod_sweep.evidence.analysis.curves import by_turn, complete, seeds_drawn, stacked
from atod_sweep.evidence.analysis.results import Levels, Results, Trial, label
from atod_sweep.evidence.figures.style import (
    Figure,
    label_axes,
    legend_below,
    panels,
    save,
    short,
    shown_conditions,
    styles,
    together,
)
from atod_sweep.evidence.stats.intervals import Array

MAPS = 8  # heat maps in one figure
_ENDS = {"eval/ended_by_turn", "eval/success_by_turn"}


@dataclass(frozen=True)
class Map:
    """A heat map of one arm at one condition: `value_EK` by step and turn."""

    title: str
    step_E: Array
    value_EK: Array


def schedule_map(results: Results, folder: Path) -> Figure | None:
    """The teacher's weight by step and turn: schedule times turn weight, for arms whose weight depends on the turn."""
    maps = [m for m in _maps(results, _applied) if np.nanmax(np.nanstd(m.value_EK, axis=1)) > 1e-6]
    caption = (
        "Teacher's weight by training step (left to right) and turn (top to bottom), schedule times mean turn weight, "
        f"as applied: darker is more. {_over(results)} Look for where in a conversation, and when, the teacher still "
        "speaks."
    )
    return _draw(maps, folder, "schedule_by_turn", "Teacher's weight by step and turn", caption)


def turn_weight_map(results: Results, folder: Path) -> Figure | None:
    """The data-dependent turn weights alone (T-DUR), over training."""
    kinds = ("t_dur", "product", "token_level")
    maps = _maps(results, lambda trials: by_turn(trials, "turn_weight") if _turns(trials[0]) in kinds else None)
    caption = (
        "Mean weight of every turn over training, from the students' own log-probs (darker: more); white where no "
        f"episode got that far. {_over(results)} Look for turns that keep their weight while others lose it."
    )
    return _draw(maps, folder, "turn_weights", "Turn weights over training", caption)


def _over(results: Results) -> str:
    return f"Mean over {seeds_drawn(results)}."


def _turns(trial: Trial) -> str:
    objective = trial.config.get("objective", {})
    return str(objective.get("turns", {}).get("kind", ""))


def _applied(trials: list[Trial]) -> tuple[Array, Array] | None:
    step_E, weight_EK = by_turn(trials, "turn_weight")
    at_E, lam_SE = stacked(trials, "weight/distill", "train")
    if not len(step_E) or not np.array_equal(step_E, at_E):
        return None
    return step_E, weight_EK * lam_SE.mean(axis=0)[:, None]


def _maps(results: Results, table: Callable[[list[Trial]], tuple[Array, Array] | None]) -> list[Map]:
    """A map per shown arm and condition that has data."""
    found = []
    shown = [arm for arm, look in styles(results).items() if look.shown]
    for levels in results.conditions:
        for arm in shown:
            trials = complete(results, arm, levels)
            data = table(trials) if trials else None
            if data is not None and data[1].size and np.isfinite(data[1]).any():
                found.append(Map(_title(arm, levels), *data))
    return found


def _title(arm: str, levels: Levels) -> str:
    where = ", ".join(levels.values())
    return f"{short(arm, 22)} ({where})" if where else short(arm)


def _draw(maps: list[Map], folder: Path, name: str, title: str, caption: str) -> Figure | None:
    if not maps:
        return None
    if len(maps) > MAPS:
        caption += f" The first {MAPS} of {len(maps)} maps."
    maps = maps[:MAPS]
    canvas, axes = panels([m.title for m in maps], height=1.9)
    top = max(1.0, max(float(np.nanmax(m.value_EK)) for m in maps))
    for axis, m in zip(axes, maps, strict=True):
        turns = m.value_EK.shape[1]
        edges = (m.step_E[0], m.step_E[-1] + 1, turns + 0.5, 0.5)
        image = axis.imshow(
            m.value_EK.T, aspect="auto", extent=edges, cmap="cividis_r", vmin=0, vmax=top, interpolation="nearest"
        )
        axis.grid(visible=False)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    canvas.colorbar(image, ax=axes, shrink=0.8, label="weight")
    label_axes(axes, "optimiser step", "turn")
    return save(canvas, folder, name, title, caption)


def endings(results: Results, folder: Path) -> Figure | None:
    """Success of the episodes that reach a turn, and the turn at which the others end, at the last evaluation."""
    counts = {
        (arm, label(levels)): found
        for levels in shown_conditions(results)
        for arm, look in styles(results).items()
        if look.shown and (found := _endings(complete(results, arm, levels))) is not None
    }
    if not counts:
        return None
    names = [label(levels) for levels in shown_conditions(results)]
    titles = [f"{where}: {what}" if where else what for where in names for what in ("success", "failures")]
    canvas, axes = panels(titles, height=2.2)
    looks = styles(results)
    for (arm, where), (ended_K, won_K) in counts.items():
        i = 2 * names.index(where)
        turn_K = np.arange(1, len(ended_K) + 1)
        left_K = ended_K[::-1].cumsum()[::-1]  # episodes that reach the turn
        success_K = np.divide(won_K[::-1].cumsum()[::-1], left_K, out=np.full(len(left_K), np.nan), where=left_K > 0)
        style = {"color": looks[arm].color, "ls": looks[arm].dash, "marker": "o", "ms": 3, "label": short(arm)}
        axes[i].plot(turn_K, success_K, **style)
        axes[i + 1].plot(turn_K, (ended_K - won_K) / ended_K.sum(), **style)
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(axes, "turn", "share of episodes")
    legend_below(canvas, axes)
    caption = (
        f"Last evaluation, {seeds_drawn(results)} together. Success: of the episodes that reach this "
        "turn, the share that ends in success; where a line falls, long episodes are the lost ones. Failures: share of "
        "all episodes that end without success at this turn; a peak at the last turn means that time ran out."
    )
    return save(canvas, folder, "endings", "Where episodes succeed and fail", caption + together(results))


def _endings(trials: list[Trial]) -> tuple[Array, Array] | None:
    """`ended_K`, `won_K`: episodes of the last evaluation that ended at each turn, and the successful ones."""
    told = [[row for row in trial.rows if row["phase"] == "eval" and row.keys() >= _ENDS] for trial in trials]
    counts = {key: [rows[-1][key] for rows in told if rows] for key in _ENDS}  # of horizons that may differ
    ended_K, won_K = (
        np.array([sum(at) for at in zip_longest(*counts[key], fillvalue=0)], dtype=np.float64)
        for key in ("eval/ended_by_turn", "eval/success_by_turn")
    )
    return (ended_K, won_K) if len(ended_K) else None
