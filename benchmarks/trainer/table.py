"""Rows -> markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.trainer.clock import Row


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def quartiles(values: Sequence[float], digits: int = 2) -> str:
    """Median [first quartile, third quartile]."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


COST_HEAD = ("step", "rollout s", "score s", "update s", "total s", "tokens/s", "peak memory MB")


def cost(name: str, rows: Sequence[Row], device: str) -> list[str]:
    """One line of a cost table: medians over steps."""

    def median(of: Callable[[Row], float]) -> float:
        return statistics.median(map(of, rows))

    memory = [row.memory for row in rows if row.memory is not None]
    return [
        name,
        f"{median(lambda r: r.rollout.on(device)):.3f}",
        f"{median(lambda r: r.score.on(device)):.3f}",
        f"{median(lambda r: r.update.on(device)):.3f}",
        quartiles([row.total.on(device) for row in rows], 3),
        f"{median(lambda r: r.tokens / r.total.on(device)):,.0f}",
        f"{max(memory) / 1e6:,.0f}" if memory else "–",
    ]


def ratio(above: Sequence[Row], below: Sequence[Row], device: str) -> str:
    """How many times as long a step takes, over steps that ran one right after the other."""
    return quartiles([a.total.on(device) / b.total.on(device) for a, b in zip(above, below, strict=True)])
