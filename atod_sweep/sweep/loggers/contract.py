"""What a home of runs outside their folders has to offer: MLflow, W&B and TensorBoard are such loggers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger import History
from atod_sweep.records.ledger_rows import TrialRow


class Logger(Protocol):
    """Writes down a run elsewhere, from its files, so that writing something twice changes nothing.

    Every method but `explain` may raise whatever its library raises; after that, `begin` takes everything up anew.
    """

    name: str
    """What people call it."""
    option: str
    """What `atod-sweep sync RUN` needs beside the run's folder to write to it."""

    @property
    def place(self) -> str:
        """One line, once it has begun: where the run is, and how to look at it."""

    def begin(self) -> None:
        """Find or make the run's place, and mark the run as going on."""

    def trial(self, row: TrialRow) -> None:
        """Bring a trial up to its ledger row and its files."""

    def end(self, status: str, answer: Answer | None) -> None:
        """Close the run: FINISHED, FAILED or KILLED, with what it found, if that is known."""

    def explain(self, error: Exception) -> str:
        """One line that says what is wrong and names the remedy."""


def bring(logger: Logger, rows: Iterable[TrialRow], brought: Callable[[TrialRow], object]) -> Exception | None:
    """Write down rows; `brought` hears of each that is there. What the logger said of the last one that it refused.

    A row that fails does not hold back the next one; if that fails, too, the store is away, and its error is raised.
    """
    refused, failed = None, False
    for row in rows:
        try:
            logger.trial(row)
        except Exception as error:  # whatever a library raises
            if failed:
                raise
            refused, failed = error, True
        else:
            failed = False
            brought(row)
    return refused


def status_of(history: History) -> str:
    """How a run is closed that nobody writes: KILLED with trials under way, FAILED if none came to a result."""
    if history.count("RUNNING"):
        return "KILLED"
    return "FINISHED" if history.count("COMPLETE") + history.count("PRUNED") else "FAILED"
