"""What a task costs, as a table."""

from __future__ import annotations

import math

from atod_sweep.config.price import Price
from atod_sweep.evidence.analysis.price import TEACHER, Worth, worths
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.text import NOTHING, count, number
from atod_sweep.evidence.tables.cells import Cell, Table, number_cell, percent_cell

# Milliseconds per turn: the median, and what 95 of 100 turns stay below.
Latency = dict[str, tuple[float, float]]


def table(results: Results, price: Price, latency: Latency | None = None) -> Table:
    """Money per task and per solved task of every arm and of the teacher; `latency` by arm, where it was measured."""
    found = worths(results, price)
    header = ["who", *results.study.factors, "success", "turns", "tokens a task"]
    header += ["ms a turn (95 %)"] if latency else []
    header += ["a task", "a solved task", "of the teacher's", "training", "earned back after", "front"]
    rows = [
        [
            Cell("teacher (itself)" if w.arm == TEACHER else w.arm),
            *(Cell(level) for level in w.levels.values()),
            number_cell(w.success),
            Cell(number(w.usage.turns, 1), w.usage.turns),
            Cell(count(w.usage.fresh + w.usage.written), w.usage.fresh + w.usage.written),
            *([_ms(latency.get(w.arm))] if latency else []),
            _money(w.task, price),
            _money(w.solved, price),
            percent_cell(w.solved / w.teacher if math.isfinite(w.solved) and 0 < w.teacher < math.inf else math.nan),
            _money(w.training, price) if w.arm != TEACHER else Cell(NOTHING),
            _tasks(w),
            Cell("yes" if w.on_front else ""),
        ]
        for w in found
    ]
    caption = (
        "Tokens per turn as in the rollouts (the teacher's as its students'), turns and success as in the last "
        f"evaluation; means over seeds. Money: {price.currency} per million tokens, student {_prices(price.student)}, "
        f"teacher {_prices(price.teacher)}, {price.currency}{price.hour:g} an hour of training. Earned back: "
        "solved tasks after which one training has paid, against the teacher. Front: nobody solves more for less."
    )
    return Table(caption, header, rows)


def _prices(price: object) -> str:
    return " / ".join(f"{name} {value:g}" for name, value in vars(price).items())


def _money(value: float, price: Price) -> Cell:
    if not math.isfinite(value):
        return Cell("no task solved" if math.isinf(value) else NOTHING, value)
    return Cell(f"{price.currency}{value:.3g}", value)


def _tasks(w: Worth) -> Cell:
    if w.arm == TEACHER or math.isnan(w.earned_back):
        return Cell(NOTHING)
    return (
        Cell("never", math.inf) if math.isinf(w.earned_back) else Cell(f"{count(w.earned_back)} tasks", w.earned_back)
    )


def _ms(measured: tuple[float, float] | None) -> Cell:
    return Cell(NOTHING) if measured is None else Cell(f"{measured[0]:.1f} ({measured[1]:.1f})", measured[0])
