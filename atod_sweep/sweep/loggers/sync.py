"""Bring a logger up to a run's ledger, after its store was away or on a machine that has its library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from atod_sweep.errors import UserError
from atod_sweep.records import ledger, packed
from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.sweep.loggers.contract import Logger, bring, status_of

_NEWS = 2.0  # seconds between lines that tell how far it is


def sync(
    run_dir: Path,
    make: Callable[[StudyRow], Logger],
    say: Callable[[str], None],
    answer: Callable[[Path], Answer | None],
) -> int:
    """Bring the logger that `make` makes up to the ledger of a run; the number of trials. `say` gets a line every few
    seconds; `answer` tells what the run found.

    UserError if the folder holds no run, or a packed one, if somebody is writing it, or if the store does not take it.
    """
    packed.refuse(run_dir, "recorded elsewhere")
    if ledger.fold(ledger.read(run_dir)).study is None:
        raise ledger.nothing_in(run_dir)
    with ledger.locked(run_dir):
        history = ledger.fold(ledger.read(run_dir))
        assert history.study is not None
        logger = make({**history.study, "time": history.studies[0]["time"]})
        total = len(history.trials)

        def rows() -> Iterator[TrialRow]:
            told = time.monotonic()
            for number, row in enumerate(history.trials.values(), start=1):
                # Nobody is writing: what the ledger left as RUNNING is not.
                yield {**row, "state": "FAILED"} if row["state"] == "RUNNING" else row
                if time.monotonic() - told > _NEWS:
                    say(f"{logger.name}: {number} of {total} trials")
                    told = time.monotonic()

        try:
            logger.begin()
            refused = bring(logger, rows(), lambda row: None)
            logger.end(status_of(history), answer(run_dir))
            if refused is not None:
                raise refused
        except UserError:
            raise
        except Exception as error:  # whatever the library raises
            raise UserError(f"{logger.explain(error)}; then again: atod-sweep sync {run_dir}{logger.option}") from error
        say(logger.place)
        return total
