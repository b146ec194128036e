"""What runs next: trials in order, attempts that are worth another try first."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Container, Iterable
from dataclasses import replace
from typing import Protocol

from atod_sweep.sweep.trials.desk import RunLimits
from atod_sweep.sweep.trials.jobs import Attempt, Job, Row


class Source(Protocol):
    """Where a backend gets its work from."""

    @property
    def finished(self) -> bool:
        """No more work will come, whatever happens to the attempts under way."""

    def next(self) -> Job | None:
        """The next attempt to start; None if there is none right now."""

    def ended(self, job: Job, attempt: Attempt) -> bool:
        """Take note of how an attempt ended, its ledger row being written; True if the trial is tried again."""

    def should_stop(self, job: Job, rows: list[Row]) -> bool:
        """Whether an attempt that reported these rows should end here."""


class Queue:
    """A list of jobs, each tried up to `limits.max_retries` times more if its failure may pass.

    No attempt starts later than `limits.time_budget` after the queue was made, no trial after the first `max_trials`.
    """

    def __init__(self, jobs: Iterable[Job], limits: RunLimits) -> None:
        self._waiting = deque(jobs)
        self._deadline = math.inf if limits.time_budget is None else time.monotonic() + limits.time_budget
        self._under_way = 0
        self._max_retries = limits.max_retries
        self._most = math.inf if limits.max_trials is None else limits.max_trials
        self._started: set[str] = set()
        self._tries: dict[str, int] = {}

    @property
    def finished(self) -> bool:
        """True once nothing waits and nothing under way could come back for another try."""
        return (not self._waiting or self.closed) and not self._under_way

    @property
    def empty(self) -> bool:
        """True if nothing waits and nothing is under way: all that was ever added has ended."""
        return not self._waiting and not self._under_way

    @property
    def closed(self) -> bool:
        """Time is up, or the first in line (or whatever is added next) would be one trial too many."""
        again = bool(self._waiting) and self._waiting[0].trial in self._started
        full = len(self._started) >= self._most and not again
        return full or time.monotonic() > self._deadline

    def next(self) -> Job | None:
        if not self._waiting or self.closed:
            return None
        self._under_way += 1
        job = self._waiting.popleft()
        self._started.add(job.trial)
        return job

    def add(self, jobs: Iterable[Job]) -> None:
        self._waiting.extend(jobs)

    def drop(self, trials: Container[str]) -> set[str]:
        """Forget those of these trials that wait for their first attempt; which they were."""
        dropped = {job.trial for job in self._waiting if job.attempt == 1 and job.trial in trials}
        self._waiting = deque(job for job in self._waiting if job.trial not in dropped)
        return dropped

    def ended(self, job: Job, attempt: Attempt) -> bool:
        """Put the trial back in front if its failure may pass and it has tries left."""
        self._under_way -= 1
        tries = self._tries[job.trial] = self._tries.get(job.trial, 0) + 1
        again = attempt.error is not None and attempt.error.status.retried and tries <= self._max_retries
        if again:
            self._waiting.appendleft(replace(job, attempt=job.attempt + 1))
        return again

    def should_stop(self, job: Job, rows: list[Row]) -> bool:
        """Never: the trials of a study run to their end, or their comparison would not be one."""
        return False
