"""What the console shows while a study runs: a live bar, one plain line per finished trial, or JSON events."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from atod_sweep.records.status import Status
from atod_sweep.sweep.trials.jobs import Row

_ENDED = ("COMPLETE", "PRUNED", "FAILED")


class Scoreboard:
    """Counts, the leading arm and the time left, from the rows of a run. `sign`: -1 if small values are good."""

    def __init__(self, total: int, concurrency: int, metric: str, before: Mapping[str, Row], sign: float = 1) -> None:
        self.total, self.metric = total, metric
        self._sign = sign
        self._concurrency = concurrency
        self._rows = {trial: row for trial, row in before.items() if row["state"] in ("COMPLETE", "PRUNED")}
        self._seconds: list[float] = []

    def add(self, row: Row) -> None:
        """Take in a trial's row."""
        self._rows[row["trial"]] = row
        if row["state"] in _ENDED:
            self._seconds.append(row["seconds"])

    def count(self, *states: str) -> int:
        """Trials in these states."""
        return sum(row["state"] in states for row in self._rows.values())

    @property
    def done(self) -> int:
        """Trials that ended, well or badly."""
        return self.count(*_ENDED)

    @property
    def best(self) -> str:
        """The arm (and level) with the best mean, ± half its 95 % t interval; empty before any result."""
        scores: dict[str, list[float]] = {}
        for row in self._rows.values():
            if row["state"] == "COMPLETE" and row["role"] == "arm" and row.get("score") is not None:
                label = " ".join([row["arm"], *row["levels"].values()])
                scores.setdefault(label, []).append(row["score"])
        if not scores:
            return ""
        name = max(scores, key=lambda arm: self._sign * statistics.fmean(scores[arm]))
        values = scores[name]
        half = _half_width(values) if len(values) > 1 else None
        return f"{name} {statistics.fmean(values):.2f}" + (f" ± {half:.2f}" if half is not None else "")

    @property
    def seconds_left(self) -> float | None:
        """From the mean time of a trial; None before the first one ended."""
        if not self._seconds:
            return None
        return math.ceil((self.total - self.done) / self._concurrency) * statistics.fmean(self._seconds)


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


def _result(row: Row, metric: str) -> str:
    if row["error"]:
        error = row["error"]
        kind = error["type"] if error["status"] == Status.EXCEPTION else error["status"]
        return f"{kind}: {' '.join(error['message'].split())}"
    value = row["metrics"].get(metric)
    return f"{metric} {value:.3f}" if value is not None else ""


class Progress(Protocol):
    """A way of showing a run."""

    def note(self, text: str, **data: Any) -> None:
        """One line of information; `data` is its content for machines."""

    def begin(self, board: Scoreboard) -> None:
        """Trials are about to run."""

    def trial(self, row: Row) -> None:
        """A trial changed its state."""

    def end(self) -> None:
        """No more trials will run."""


class Plain:
    """One line per finished trial, without control codes."""

    def note(self, text: str, **data: Any) -> None:
        """Print the line."""
        print(text, flush=True)

    def begin(self, board: Scoreboard) -> None:
        """Start counting."""
        self._board = board

    def trial(self, row: Row) -> None:
        """Print a finished trial."""
        self._board.add(row)
        if row["state"] in _ENDED:
            width = len(str(self._board.total))
            what = f"{row['state'].lower():8} {row['trial']}  {_result(row, self._board.metric)}"
            print(f"{self._board.done:{width}}/{self._board.total} {what}  {clock(row['seconds'])}", flush=True)

    def end(self) -> None:
        """Nothing to clean up."""


class Json:
    """One JSON object per event."""

    def note(self, text: str, **data: Any) -> None:
        """Print the data, or the line where there is none."""
        self._print(data or {"event": "note", "text": text})

    def begin(self, board: Scoreboard) -> None:
        """Start counting."""
        self._board = board

    def trial(self, row: Row) -> None:
        """Print the ledger row with the state of the whole."""
        self._board.add(row)
        board = self._board
        counts = {"done": board.done, "failed": board.count("FAILED"), "total": board.total}
        self._print({**row, **counts, "best": board.best, "seconds_left": board.seconds_left})

    def end(self) -> None:
        """Nothing to clean up."""

    @staticmethod
    def _print(data: Mapping[str, Any]) -> None:
        print(json.dumps(data, ensure_ascii=False), flush=True)


class Bar:
    """A live bar: done and failed trials, leading arm, time spent and left."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console()

    def note(self, text: str, **data: Any) -> None:
        """Print the line (above the bar, if it is there)."""
        self._console.print(text, highlight=False, markup=False)

    def begin(self, board: Scoreboard) -> None:
        """Show the bar."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._board = board
        count, words = TextColumn("{task.completed}/{task.total}"), TextColumn("{task.description}")
        self._bar = Progress(BarColumn(26), count, words, TimeElapsedColumn(), console=self._console)
        self._task = self._bar.add_task("", total=board.total, completed=board.done)
        self._bar.start()
        self._update()

    def trial(self, row: Row) -> None:
        """Move the bar; a failure leaves a line."""
        self._board.add(row)
        if row["state"] == "FAILED":
            self.note(f" failed  {row['trial']}  {_result(row, self._board.metric)}")
        self._update()

    def end(self) -> None:
        """Leave the bar in its last state."""
        self._update()
        self._bar.stop()

    def _update(self) -> None:
        board = self._board
        failed = board.count("FAILED")
        parts = [f"[red]{failed} failed[/red]" if failed else "0 failed"]
        if pruned := board.count("PRUNED"):
            parts.append(f"{pruned} pruned")
        if best := board.best:
            parts.append(f" best: [bold]{best}[/bold]")
        left = board.seconds_left
        if left is not None and board.done < board.total:
            parts.append(f" about {clock(left)} left")
        self._bar.update(self._task, total=board.total, completed=board.done, description=" ".join(parts))


def choose(json_output: bool) -> Progress:
    """JSON if asked for, a bar on a terminal, plain lines elsewhere."""
    if json_output:
        return Json()
    return Bar() if sys.stdout.isatty() else Plain()
