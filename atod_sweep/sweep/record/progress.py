"""What the console shows while a run is prepared, runs and ends: a live display, plain lines, JSON events, or little.

All of them are told the same (`Progress`); where the run stands is a `Scoreboard`'s business.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.records.metrics import MetricRow
from atod_sweep.records.redaction import shown
from atod_sweep.records.status import Status
from atod_sweep.sweep.record.scoreboard import ENDED, Running, Scoreboard, clock

SILENCE = 2.5  # seconds without a line after which a plain log says what is being done
PATIENCE = 60  # … and after a while, this part of the time so far: a day's run shall not fill its log

Event = dict[str, Any]


class Progress:
    """A way of showing a run; what it does not override it does not show."""

    _board: Scoreboard | None = None  # while trials run

    def doing(self, what: str) -> None:
        """What is being done from now on: building models, starting Ray, writing the report."""

    def note(self, text: str, **data: Any) -> None:
        """One line of information; `data` is its content for machines."""

    def begin(self, board: Scoreboard) -> None:
        """Trials are about to run; the board is kept up to date before each call that follows."""
        self._board = board

    def trial(self, row: TrialRow) -> None:
        """A trial changed its state."""

    def reported(self, trial: str, steps: int, rows: list[MetricRow]) -> None:
        """A running trial of so many steps reported."""

    def end(self) -> None:
        """No more trials will run."""

    def close(self) -> None:
        """The run is over, its report written."""


class Quiet(Progress):
    """Warnings and failed trials only."""

    def note(self, text: str, **data: Any) -> None:
        """Lines that carry an event are routine; the others are remarks that a reader needs."""
        if not data:
            _print(shown(text))

    def trial(self, row: TrialRow) -> None:
        assert self._board is not None
        if row["state"] == "FAILED":
            _print(shown(_ended(self._board, row)))


class Plain(Progress):
    """One line per finished trial, without control codes; when nothing else is said, what is being done.

    `verbose`: one line per evaluation, too.
    """

    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose
        self._what = ""
        self._began = self._spoke = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="progress", daemon=True).start()

    def doing(self, what: str) -> None:
        self._what = what
        self._say(f"{what} …")

    def note(self, text: str, **data: Any) -> None:
        self._say(text)

    def trial(self, row: TrialRow) -> None:
        assert self._board is not None
        if row["state"] in ENDED:
            self._say(_ended(self._board, row))

    def reported(self, trial: str, steps: int, rows: list[MetricRow]) -> None:
        assert self._board is not None
        if self._verbose and trial in self._board.running:
            self._say(str(self._board.running[trial]))

    def end(self) -> None:
        self._board = None

    def close(self) -> None:
        self._over.set()

    def _say(self, line: str) -> None:
        self._spoke = time.monotonic()
        _print(shown(line))

    def _beat(self) -> None:
        while not self._over.wait(0.5):
            now = time.monotonic()
            if now - self._spoke >= max(SILENCE, (now - self._began) / PATIENCE) and (line := self._standing()):
                self._say(line)

    def _standing(self) -> str:
        board = self._board
        if board is None:
            return f"{self._what} … {clock(time.monotonic() - self._began)}" if self._what else ""
        running = ", ".join(map(str, list(board.running.values()))) or self._what
        return f"{board.done}/{board.total} {clock(board.seconds)} {_left(board)} {running}".replace("  ", " ")


class Events(Progress):
    """Every event as a dictionary: what `--json` prints, and what a `callback` gets."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit

    def doing(self, what: str) -> None:
        self._emit({"event": "doing", "text": what})

    def note(self, text: str, **data: Any) -> None:
        self._emit(data or {"event": "note", "text": text})

    def trial(self, row: TrialRow) -> None:
        board = self._board
        assert board is not None
        counts = {"done": board.done, "failed": board.count("FAILED"), "total": board.total}
        self._emit({**row, **counts, "best": board.best, "seconds_left": board.seconds_left})

    def reported(self, trial: str, steps: int, rows: list[MetricRow]) -> None:
        for row in rows:
            if row["phase"] == "eval":
                self._emit({"event": "evaluation", "trial": trial, "steps": steps, **row})


class Several(Progress):
    """One way beside another: a display and a callback."""

    def __init__(self, ways: list[Progress]) -> None:
        self._ways = ways

    @staticmethod
    def _all(name: str) -> Callable[..., None]:
        def tell(self: Several, *args: Any, **data: Any) -> None:
            for way in self._ways:
                getattr(way, name)(*args, **data)

        return tell

    doing, note, begin, trial = _all("doing"), _all("note"), _all("begin"), _all("trial")
    reported, end, close = _all("reported"), _all("end"), _all("close")


class Bar(Progress):
    """A live display for terminals and notebooks: the whole, and a line for every running trial."""

    def __init__(self, verbose: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._verbose = verbose
        self._what = ""
        self._began = time.monotonic()
        self._live = Live(console=self._console, get_renderable=self._picture, refresh_per_second=4, transient=True)
        self._live.start()

    def doing(self, what: str) -> None:
        self._what, self._began = what, time.monotonic()

    def note(self, text: str, **data: Any) -> None:
        self._console.print(shown(text), highlight=False, markup=False)

    def trial(self, row: TrialRow) -> None:
        assert self._board is not None
        if row["state"] == "FAILED" or (self._verbose and row["state"] in ENDED):
            self.note(_ended(self._board, row))

    def end(self) -> None:
        if self._board is not None:
            self._console.print(_whole(self._board))
        self._board = None

    def close(self) -> None:
        self._live.stop()

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        board = self._board
        if board is None:
            if not self._what:
                return Text("")
            return Spinner("dots", Text(f"{self._what} … {clock(time.monotonic() - self._began)}"))
        lines = [_running(one) for one in list(board.running.values())]
        return Group(_whole(board), *(lines or [Spinner("dots", Text(f"{self._what} …"))]))


def _whole(board: Scoreboard) -> Any:
    from rich.table import Table
    from rich.text import Text

    failed = board.count("FAILED")
    words = Text(f"{board.done}/{board.total}  ")
    words.append(f"{failed} failed", style="red" if failed else "")
    if pruned := board.count("PRUNED"):
        words.append(f"  {pruned} pruned")
    if best := board.best:
        words.append("  best: ").append(best, style="bold")
    words.append(f"  {clock(board.seconds)}  {_left(board)}")
    table = Table.grid(padding=(0, 1))
    table.add_row(_bar(board.share, board.total, 26), words)
    return table


def _running(one: Running) -> Any:
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    table.add_row("  ", _bar(one.step, max(1, one.steps), 12), str(one))
    return table


def _bar(done: float, total: float, width: int) -> Any:
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=total, completed=done, width=width)


def _ended(board: Scoreboard, row: TrialRow) -> str:
    width = len(str(board.total))
    what = f"{row['state'].lower():8} {row['trial']}  {_result(row, board.metric)}"
    return f"{board.done:{width}}/{board.total} {what}  {clock(row['seconds'])}"


def _left(board: Scoreboard) -> str:
    left = board.seconds_left
    return f"about {clock(left)} left" if left is not None and board.done < board.total else ""


def _result(row: TrialRow, metric: str) -> str:
    if row["error"]:
        error = row["error"]
        kind = error["type"] if error["status"] == Status.EXCEPTION else error["status"]
        return f"{kind}: {' '.join(error['message'].split())}"
    value = row["metrics"].get(metric)
    return f"{metric} {value:.3f}" if value is not None else ""


_events: list[TextIO] = []  # where events go once stdout is theirs alone


def reserve_stdout() -> None:
    """From now on stdout is for events alone: what else this process and its children print goes to stderr.

    User code prints as it likes, also past Python. Where stdout is not the process's own, as in tests, nothing happens.
    """
    with contextlib.suppress(OSError, ValueError):  # of a stdout without a file
        if not _events and sys.stdout.fileno() == 1:
            sys.stdout.flush()
            _events.append(os.fdopen(os.dup(1), "w", encoding="utf-8"))
            os.dup2(2, 1)


def print_event(event: Mapping[str, Any]) -> None:
    _print(json.dumps(event, ensure_ascii=False), _events[0] if _events else None)


def _print(line: str, file: TextIO | None = None) -> None:
    """Where nobody reads any more, as behind `| head`, the run goes on unseen."""
    try:
        print(line, flush=True, file=file)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), (file or sys.stdout).fileno())


def choose(
    json_output: bool = False,
    callback: Callable[[Event], None] | None = None,
    verbosity: int = 0,
    show: Progress | None = None,
) -> Progress:
    """JSON if asked for, a live display on a terminal or in a notebook, plain lines elsewhere, or a way of the caller's
    own (`show`); beside it the callback.

    `verbosity`: below 0 warnings and failures only, above 0 also every trial and evaluation.
    """
    ways: list[Progress] = [show or (Events(print_event) if json_output else _display(verbosity))]
    if callback is not None:
        ways.append(Events(callback))
    return ways[0] if len(ways) == 1 else Several(ways)


def _display(verbosity: int) -> Progress:
    from rich.console import Console

    if verbosity < 0:
        return Quiet()
    console = Console()
    return (Bar if console.is_terminal or console.is_jupyter else Plain)(verbosity > 0)
