"""Where a run stands: trials done, running and failed, the leading arm, the time left. `progress` shows it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.records.metrics import MetricRow

ENDED = ("COMPLETE", "PRUNED", "FAILED")


@dataclass(frozen=True)
class Running:
    """A trial under way: optimiser steps done and planned, and the run's metric at its last evaluation."""

    trial: str
    step: int = 0
    steps: int = 0
    value: float | None = None

    @property
    def share(self) -> float:
        """What it has done of its steps, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    def __str__(self) -> str:
        if not self.steps:
            return f"{self.trial} starting"
        value = "" if self.value is None else f" {self.value:.2f}"
        return f"{self.trial} step {self.step}/{self.steps}{value}"


class Scoreboard:
    """Counts, the leading arm and the time left, from the rows of a run. `sign`: -1 if small values are good.

    A display asks from a thread of its own while rows come in.
    """

    def __init__(
        self, total: int, concurrency: int, metric: str, before: Mapping[str, TrialRow], sign: float = 1
    ) -> None:
        self.total, self.metric = total, metric
        self._sign = sign
        self._concurrency = concurrency
        self._rows = {trial: row for trial, row in before.items() if row["state"] in ("COMPLETE", "PRUNED")}
        self._seconds: list[float] = []
        self.expected: float | None = None  # seconds of a trial, until one has ended
        self._began = time.monotonic()
        self.running: dict[str, Running] = {}

    def add(self, row: TrialRow) -> None:
        self._rows[row["trial"]] = row
        if row["state"] in ENDED:
            if row["role"] in ("arm", "control"):  # a model that is only evaluated says nothing of a training
                self._seconds.append(row["seconds"])
            self.running.pop(row["trial"], None)
        else:
            self.running[row["trial"]] = Running(row["trial"])

    def reported(self, trial: str, steps: int, rows: list[MetricRow]) -> None:
        """Take in what a running trial reported; `steps`: optimiser steps of the whole trial."""
        if trial in self.running:
            values = [row[self.metric] for row in rows if self.metric in row]
            before = self.running[trial]
            self.running[trial] = Running(trial, rows[-1]["step"], steps, values[-1] if values else before.value)

    def count(self, *states: str) -> int:
        return sum(row["state"] in states for row in list(self._rows.values()))

    @property
    def done(self) -> int:
        return self.count(*ENDED)

    @property
    def best(self) -> str:
        """The arm (and level) with the best mean, ± half its 95 % t interval; empty before any result."""
        scores: dict[str, list[float]] = {}
        for row in list(self._rows.values()):
            score = row.get("score")
            if row["state"] == "COMPLETE" and row["role"] == "arm" and score is not None:
                label = " ".join([row["arm"], *row["levels"].values()])
                scores.setdefault(label, []).append(score)
        if not scores:
            return ""
        name = max(scores, key=lambda arm: self._sign * statistics.fmean(scores[arm]))
        values = scores[name]
        half = _half_width(values) if len(values) > 1 else None
        return f"{name} {statistics.fmean(values):.2f}" + (f" ± {half:.2f}" if half is not None else "")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def share(self) -> float:
        """Trials that are done, and of the running ones what they have done of their steps."""
        return self.done + math.fsum(one.share for one in list(self.running.values()))

    @property
    def seconds_left(self) -> float | None:
        """From the mean time of a trial, what the running ones have done already taken off; None if it is not known."""
        each = statistics.fmean(self._seconds) if self._seconds else self.expected
        side_by_side = max(1, min(self._concurrency, self.total - self.done))  # the last one runs alone
        return None if each is None else max(0.0, (self.total - self.share) / side_by_side) * each


def _half_width(values: list[float]) -> float | None:
    """None on a machine that can train but has no scipy."""
    try:
        from scipy.special import stdtrit
    except ModuleNotFoundError:
        return None
    return float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))


def clock(seconds: float) -> str:
    """`2:41`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
