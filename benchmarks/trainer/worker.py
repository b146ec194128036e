"""One process per contender, one of them at work at a time.

So contenders can be paired step by step, and none inherits another's allocator settings, memory peak or CUDA errors.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from benchmarks.trainer.clock import Memory, Row
from benchmarks.trainer.contenders import Contender, Job

# A shared CPU can be slow in wall time; a GPU is lent by the minute.
PATIENCE_SECONDS = {"cpu": 900.0, "cuda": 120.0}


class ContenderFailed(Exception):
    """A contender could not be built or could not take a step; the message says why in one line."""


@dataclass(frozen=True)
class _Failure:
    reason: str


class Worker:
    """A contender in a process of its own. Build several, then use them: they start at the same time."""

    def __init__(self, contender: Contender, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.patience = PATIENCE_SECONDS[job.device]
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, contender, job), daemon=True)
        self.process.start()
        theirs.close()
        self.started = False

    def step(self) -> Row:
        """One optimiser step. Raises ContenderFailed."""
        if not self.started:
            self._receive()
            self.started = True
        row = self._receive(ask="step")
        assert isinstance(row, Row)
        return row

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()

    def _receive(self, ask: str | None = None) -> object:
        try:
            if ask:
                self.connection.send(ask)
            if not self.connection.poll(self.patience):
                raise ContenderFailed(f"silent for {self.patience:g} s")
            answer = self.connection.recv()
        except (EOFError, OSError):
            raise ContenderFailed("its process died") from None
        if isinstance(answer, _Failure):
            raise ContenderFailed(answer.reason)
        return answer


def _serve(connection: Connection, contender: Contender, job: Job) -> None:
    memory: Memory | None = None

    def wait() -> None:
        nonlocal memory
        if memory is None:
            memory = Memory(job.device)
            connection.send("ready")
        with _until_the_benchmark_is_gone():
            connection.recv()

    def done(row: Row) -> None:
        assert memory is not None
        with _until_the_benchmark_is_gone():
            connection.send(replace(row, memory=memory.peak()))

    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # trainers print logs; this process ends with it
    try:
        contender.run(job, wait, done)
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        connection.send(_Failure(f"{type(error).__name__}: {lines[-1]}"))


@contextmanager
def _until_the_benchmark_is_gone() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        os._exit(0)  # nobody listens; no trainer's clean-up is wanted
