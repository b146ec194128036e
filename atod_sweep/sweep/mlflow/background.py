"""Keeps MLflow up to date from a thread of its own: a slow or lost server never delays a trial."""

from __future__ import annotations

import threading
from pathlib import Path

from atod_sweep.records import layout
from atod_sweep.records.ledger_rows import TrialRow
from atod_sweep.sweep.mlflow.mirror import Mirror, NoMirror

INTERVAL = 5.0  # seconds between looks at the metrics of running trials


class Background:
    """Feeds a mirror with the latest row of every trial that changed, until `close`."""

    def __init__(self, mirror: Mirror | NoMirror, run_dir: Path) -> None:
        self._mirror, self._run_dir = mirror, run_dir
        self._latest: dict[str, TrialRow] = {}  # rows that the mirror does not have yet
        self._running: dict[str, tuple[TrialRow, int]] = {}  # running trials and the size of their metrics file
        self._lock, self._wake, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def add(self, row: TrialRow) -> None:
        """Take in a trial's ledger row; returns at once."""
        with self._lock:
            self._latest[row["trial"]] = row
        self._wake.set()

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for what is left; True if the mirror has everything."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._latest

    def _work(self) -> None:
        pause = INTERVAL
        while True:
            closing = self._stop.is_set()  # read before the rows: whatever came first is then in this round
            self._wake.clear()
            fine = self._round()
            if closing:
                return
            pause = INTERVAL if fine else min(2 * pause, 60.0)
            (self._wake if fine else self._stop).wait(pause)

    def _round(self) -> bool:
        """Log what changed; False if the store failed, in which case the rows stay for the next round."""
        with self._lock:
            rows = dict(self._latest)
        for trial, (row, size) in list(self._running.items()):
            if trial not in rows and self._size(trial) != size:
                rows[trial] = row
        for trial, row in rows.items():
            size = self._size(trial)
            try:
                self._mirror.trial(row)
            except Exception as error:  # whatever a store can raise: the ledger has it all, `sync` catches up
                self.problem = " ".join(str(error).split())[:300]
                return False
            if row["state"] == "RUNNING":
                self._running[trial] = (row, size)
            else:
                self._running.pop(trial, None)
            with self._lock:
                if self._latest.get(trial) is row:
                    del self._latest[trial]
        self.problem = None
        return True

    def _size(self, trial: str) -> int:
        path = layout.trial_folder(self._run_dir, trial) / layout.METRICS
        return path.stat().st_size if path.is_file() else 0
