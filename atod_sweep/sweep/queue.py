"""What runs next: trials in order, attempts that are worth another try first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from atod_sweep.sweep.jobs import Attempt, Job

# Failures that another attempt may survive; a diverged trial or an error in the code would only repeat itself.
RETRIED = ("worker_died", "out_of_memory", "environment_failed", "environment_timeout")


class Source(Protocol):
    """Where a backend gets its work from."""

    @property
    def finished(self) -> bool:
        """No more work will come, whatever happens to the attempts under way."""

    def next(self) -> Job | None:
        """The next attempt to start; None if there is none right now."""

    def ended(self, job: Job, attempt: Attempt) -> None:
        """Take note of how an attempt ended."""


class Queue:
    """A list of jobs, each tried up to `max_retries` times more if its failure may pass."""

    def __init__(self, jobs: Iterable[Job], max_retries: int) -> None:
        self._waiting = deque(jobs)
        self._under_way = 0
        self._max_retries = max_retries
        self._tries: dict[str, int] = {}

    @property
    def finished(self) -> bool:
        """True once nothing waits and nothing under way could come back for another try."""
        return not self._waiting and not self._under_way

    def next(self) -> Job | None:
        """The next attempt, in the order of the list."""
        if not self._waiting:
            return None
        self._under_way += 1
        return self._waiting.popleft()

    def ended(self, job: Job, attempt: Attempt) -> None:
        """Put the trial back in front if its failure may pass and it has tries left."""
        self._under_way -= 1
        tries = self._tries[job.trial] = self._tries.get(job.trial, 0) + 1
        if attempt.error is not None and attempt.error.status in RETRIED and tries <= self._max_retries:
            self._waiting.appendleft(replace(job, attempt=job.attempt + 1))
