"""How the cost of our step grows with episodes, turns and model width, each doubled."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.trainer import contenders as c
from benchmarks.trainer.compare import Measured, Say, measure
from benchmarks.trainer.contenders import Job
from benchmarks.trainer.table import COST_HEAD, cost, markdown, quartiles
from benchmarks.trainer.workload import SIZES, Shape, Workload

BASE = SIZES["small"]


@dataclass(frozen=True)
class Axis:
    """One quantity that is doubled; `work` makes the workload for a value of it."""

    name: str
    values: tuple[int, ...]
    work: Callable[[int], Workload]


AXES = (
    Axis("episodes", (16, 32, 64, 128, 256), lambda n: replace(BASE, tasks=n // BASE.group)),
    Axis("turns", (2, 4, 8, 16, 32), lambda n: replace(BASE, turns=n)),
    Axis(
        "hidden width of the student",
        (32, 64, 128, 256),
        lambda n: replace(BASE, student=Shape(n, 2), teacher=Shape(2 * n, 4)),
    ),
)


def run(steps: int, out: Path, say: Say) -> Iterator[tuple[str, Measured]]:
    """Measure every point; say a table per axis and plot all of them."""
    by_axis: dict[str, dict[int, Measured]] = {}
    for axis in AXES:
        points = by_axis[axis.name] = {}
        for value in axis.values:
            points[value] = measure(Job(axis.work(value), "cpu"), [c.OURS_FP32], steps, say, warm_up=2)
            yield f"{axis.name} {value}", points[value]
        say(f"### {axis.name}\n\n{_table(points)}\n")
    _plot(by_axis, out)


def _table(points: dict[int, Measured]) -> str:
    body = []
    before: float | None = None
    for value, measured in points.items():
        rows = measured.rows[c.OURS_FP32]
        times = [row.total.cpu / least for row, least in zip(rows, measured.floor(teacher=True), strict=True)]
        total = statistics.median(row.total.cpu for row in rows)
        growth = "–" if before is None else f"{total / before:.2f}"
        body.append([*cost(str(value), rows, "cpu"), quartiles(times), growth])
        before = total
    return markdown((*COST_HEAD, "x floor", "x line above"), body)


def _plot(by_axis: dict[str, dict[int, Measured]], out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, len(by_axis), sharey=True)
    for panel, (name, points) in zip(panels, by_axis.items(), strict=True):
        values = list(points)
        for phase in ("total", "rollout", "score", "update"):
            seconds = [
                statistics.median(getattr(row, phase).cpu for row in m.rows[c.OURS_FP32]) for m in points.values()
            ]
            panel.plot(values, seconds, marker="o", markersize=3, label=phase, linewidth=2 if phase == "total" else 1)
        floors = [statistics.median(m.floor(teacher=True)) for m in points.values()]
        panel.plot(values, floors, color="black", linestyle=":", label="floor")
        panel.set(xlabel=name, xscale="log", yscale="log", xticks=values, xticklabels=map(str, values))
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("CPU seconds of a step")
    panels[0].legend(frameon=False, fontsize=8)
    for kind in ("svg", "png"):
        figure.savefig(out / f"scaling.{kind}", dpi=150, metadata={"Date": None} if kind == "svg" else None)
