"""Keeps a logger up to date from a thread of its own: a slow, broken or lost store never delays or stops a trial."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from atod_sweep.records import layout
from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.sweep.loggers.contract import Logger, bring
from atod_sweep.sweep.record.progress import Progress

INTERVAL = 5.0  # seconds between looks at the metrics of running trials
PATIENCE = 60.0  # seconds that the end of a run waits for a store that takes nothing
_NEWS = 5.0  # seconds between lines that tell how far it is


class Background:
    """Feeds a logger with the latest row of every trial that changed, until `close`."""

    def __init__(self, logger: Logger, run_dir: Path, show: Progress) -> None:
        self._logger, self._run_dir, self._show = logger, run_dir, show
        self._later = f"atod-sweep sync {run_dir}{logger.option}"
        self._seen: dict[str, TrialRow] = {}  # the last row of every trial
        self._latest: dict[str, TrialRow] = {}  # rows that the logger does not have yet
        self._running: dict[str, tuple[TrialRow, int]] = {}  # running trials and the size of their metrics file
        self._lock, self._wake, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._begun, self._placed = False, False
        self.problem: str | None = None
        self._told = False
        self._all_tried = False  # whether the last round came to its end, though the store may have refused rows
        self._thread = threading.Thread(target=self._work, name="logger", daemon=True)

    def begin(self, wait: bool) -> None:
        """Work in the background from now on; with `wait`, find the run in the store first, or say why that fails."""
        if wait:
            self._attempt(self._begin)
        self._tell()
        self._thread.start()

    def add(self, row: TrialRow) -> None:
        """Take in a trial's ledger row; returns at once."""
        with self._lock:
            self._latest[row["trial"]] = self._seen[row["trial"]] = row
        self._wake.set()
        self._tell()

    def close(self, status: str, answer: Answer | None = None) -> None:
        """Bring over what is left, as long as the store takes it, and close the run there; or say what to do later."""
        try:
            self._finish()
            if self._all_tried and not self._thread.is_alive():
                refused = self.problem
                self._attempt(lambda: self._logger.end(status, answer))
                self.problem = refused or self.problem
        except KeyboardInterrupt:
            self.problem = "not waited for"
        if self.problem is None:
            self._tell()
        if self.problem is not None:
            self._show.note(f"{self._logger.name} is behind the ledger ({self.problem}); catch up with: {self._later}")

    def _finish(self) -> None:
        self._stop.set()
        self._wake.set()
        left, moved = len(self._latest), time.monotonic()
        told = moved
        self._show.doing(f"bringing {self._logger.name} up to date")
        while self._thread.is_alive():
            self._thread.join(0.2)
            now = time.monotonic()
            if len(self._latest) != left:
                left, moved = len(self._latest), now
            if now - moved > PATIENCE:
                self.problem = self.problem or f"it took nothing for {PATIENCE:g} s"
                return
            if left and now - told > _NEWS:
                self._show.doing(f"bringing {self._logger.name} up to date, {left} trials left")
                told = now

    def _tell(self) -> None:
        """Say once where the run is, and once a problem. Called by the driver's own thread, which alone prints."""
        if self._begun and not self._placed:
            self._placed = True
            self._show.note(self._logger.place, event="logger", name=self._logger.name, place=self._logger.place)
        if self.problem is not None and not self._told:
            self._told = True
            self._show.note(f"{self.problem}; the run goes on from its ledger (later: {self._later})")

    # -- the thread

    def _work(self) -> None:
        pause = INTERVAL
        while True:
            closing = self._stop.is_set()  # read before the rows: whatever came first is then in this round
            self._wake.clear()
            fine = self._attempt(self._round)
            if closing:
                return
            pause = INTERVAL if fine else min(2 * pause, 60.0)
            (self._wake if fine else self._stop).wait(pause)

    def _attempt(self, step: Callable[[], None]) -> bool:
        """Whether the store took it. If not, the next round finds the run in the store anew, with all rows at hand."""
        try:
            step()
        except Exception as error:  # whatever a store can raise: the ledger has it all, `sync` catches up
            self.problem, self._begun = self._logger.explain(error), False
            return False
        self.problem = None
        return True

    def _begin(self) -> None:
        self._logger.begin()
        self._begun = True

    def _round(self) -> None:
        self._all_tried = False
        if not self._begun:
            self._begin()
            with self._lock:
                self._latest = {**self._seen, **self._latest}  # it may be another store than before
        with self._lock:
            rows = dict(self._latest)
        for trial, (row, size) in list(self._running.items()):
            if trial not in rows and self._size(trial) != size:
                rows[trial] = row
        sizes = {trial: self._size(trial) for trial in rows}

        def brought(row: TrialRow) -> None:
            trial = row["trial"]
            if row["state"] == "RUNNING":
                self._running[trial] = (row, sizes[trial])
            else:
                self._running.pop(trial, None)
            with self._lock:
                if self._latest.get(trial) is row:
                    del self._latest[trial]

        refused = bring(self._logger, rows.values(), brought)
        self._all_tried = True
        if refused is not None:
            raise refused

    def _size(self, trial: str) -> int:
        path = layout.trial_folder(self._run_dir, trial) / layout.METRICS
        return path.stat().st_size if path.is_file() else 0
