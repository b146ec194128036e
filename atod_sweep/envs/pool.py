"""Environments in worker processes: for those that take milliseconds a step, may hang, or may take the process down.

A slot belongs to one worker for good and its episode depends on its seed alone, so the number of workers changes
nothing but the time. When a worker dies or hangs, the episode that it was at is given up and marked; the worker is
started anew, and the other episodes of that worker are brought back by playing their actions again.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from atod_sweep.config.train import Env
from atod_sweep.cores import cpu_cores
from atod_sweep.envs.batch import Batch, check_fit
from atod_sweep.envs.checked import ADMISSIBLE, Answer, Checked
from atod_sweep.envs.children import settle, started_safely
from atod_sweep.envs.contract import Split
from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

# Building an environment and generating its first task may take much longer than a step.
RESET_SECONDS = 120.0

# Key in `info` of the last step of an episode that was lost with its worker: "crash" or "timeout".
LOST = "atod_sweep/lost"


class WorkerError(RuntimeError):
    """A worker failed at its own work, not at the environment's."""


def open_batch(config: Env, size: int, workers: int | None = None, timeout: float | None = None) -> Batch | Pool:
    """`size` environments: in this process, or in `workers` (default: one per core) if the environment is `slow`.

    A `timeout` (seconds a step may take) asks for workers too: a step in this process cannot be stopped. Raises
    UserError for what `Checked` refuses.
    """
    probe = Checked(config)
    slow = getattr(probe.unwrapped, "slow", False)
    probe.close()
    if timeout is None and not slow:
        return Batch(config, size)
    return Pool(config, size, workers or cpu_cores(), timeout)


class Errand(NamedTuple):
    """Work on one slot, in this order: start the task (seed, split), play actions, call an optional method.

    The answer is that of the last part.
    """

    slot: int
    start: tuple[int, Split] | None = None
    actions: tuple[str, ...] = ()
    ask: str = ""


class Lost(NamedTuple):
    """The answer to a job that took its worker down; `why` is "crash" or "timeout"."""

    why: str

    def step(self) -> Answer:
        """The end of the episode, marked."""
        return Answer("", 0.0, False, True, {"success": 0.0, "metrics": {}, LOST: self.why})


@dataclass
class _Episode:
    """What is needed to bring an episode back."""

    seed: int
    split: Split
    actions: list[str] = field(default_factory=list)


class Pool:
    """`size` environments in `workers` processes; the interface of `Batch`.

    A step that takes longer than `timeout` seconds, or kills its worker, ends its episode as truncated, with LOST in
    info. Raises what `Checked` raises, and EnvironmentFailed for an episode that cannot be started. Of `info`, success
    and metrics of a finished episode come through, and whether an action was admissible.
    """

    def __init__(self, config: Env, size: int, workers: int, timeout: float | None = None) -> None:
        self.size = size
        self._id = config.id
        self._timeout = timeout
        self._workers = [_Worker(config) for _ in range(min(workers, size))]
        self._episodes: dict[int, _Episode] = {}

    def reset(self, seeds: list[int], split: Split) -> list[str]:
        check_fit(len(seeds), self.size)
        answers = self._run(Errand(slot, (seed, split)) for slot, seed in enumerate(seeds))
        for slot, seed in enumerate(seeds):
            if isinstance(answers[slot], Lost):
                raise self._lost(f"the task of seed {seed} could not be started", answers[slot])
        self._episodes = {slot: _Episode(seed, split) for slot, seed in enumerate(seeds)}
        return [answers[slot] for slot in range(len(seeds))]

    def step(self, actions: list[str | None]) -> list[Answer | None]:
        check_fit(len(actions), self.size)
        played = {slot: action for slot, action in enumerate(actions) if action is not None}
        answers = self._run(self._job(slot, action) for slot, action in played.items())
        for slot, action in played.items():
            self._episodes[slot].actions.append(action)
        steps = {slot: answer.step() if isinstance(answer, Lost) else answer for slot, answer in answers.items()}
        return [steps.get(slot) for slot in range(len(actions))]

    def demonstrator_actions(self, slots: list[int]) -> list[str]:
        return self._ask("demonstrator_action", slots)

    def actions(self, slots: list[int]) -> list[list[str]]:
        return self._ask("actions", slots)

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()

    def _ask(self, method: str, slots: list[int]) -> list[Any]:
        """What an optional method of the environments in these slots returns."""
        answers = self._run(self._job(slot, ask=method) for slot in slots)
        for slot in slots:
            if isinstance(answers[slot], Lost):
                raise self._lost(f"{method}() gave no answer", answers[slot])
        return [answers[slot] for slot in slots]

    def _lost(self, what: str, answer: Lost) -> EnvironmentFailed:
        return EnvironmentFailed(f"env.id: {self._id!r}: {what}: {answer.why} of its worker")

    def _job(self, slot: int, action: str | None = None, ask: str = "") -> Errand:
        actions = () if action is None else (action,)
        if slot in self._worker(slot).holds:
            return Errand(slot, None, actions, ask)
        episode = self._episodes[slot]
        return Errand(slot, (episode.seed, episode.split), (*episode.actions, *actions), ask)

    def _worker(self, slot: int) -> _Worker:
        return self._workers[slot % len(self._workers)]

    def _run(self, jobs: Iterable[Errand]) -> dict[int, Any]:
        """Answers by slot. Jobs of one worker are done one after the other, workers beside each other."""
        for job in jobs:
            self._worker(job.slot).queue.append(job)
        busy = [worker for worker in self._workers if worker.queue]
        for worker in busy:
            worker.send(self._timeout)
        answers: dict[int, Any] = {}
        while busy:
            seconds = min(worker.deadline for worker in busy) - time.monotonic()
            ready = wait([worker.pipe for worker in busy], None if seconds == inf else max(0.0, seconds))
            for worker in busy:
                if worker.pipe in ready:
                    lost = worker.receive(answers, self._timeout)
                else:
                    lost = "timeout" if time.monotonic() > worker.deadline else None
                if lost:
                    answers[worker.queue[0].slot] = Lost(lost)
                    self._restart(worker)
            busy = [worker for worker in busy if worker.queue]
        return answers

    def _restart(self, worker: _Worker) -> None:
        """Give up the job that `worker` is at, and send the others to a new process, with what it needs to know."""
        _, *others = worker.queue
        worker.restart()
        worker.queue = deque(
            [job if job.start else self._job(job.slot, next(iter(job.actions), None), job.ask) for job in others]
        )
        if worker.queue:
            worker.send(self._timeout)


def _context() -> SpawnContext | ForkServerContext:
    """How processes are started: never as forks of this one, whose threads (torch, ray) may hold locks.

    The fork server, where there is one, imports the common modules once, so that a worker starts in milliseconds.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class _Worker:
    """A process, the pipe to it, the jobs sent to it that are not answered yet, the slots whose episodes it holds."""

    def __init__(self, config: Env) -> None:
        self.config = config
        self.queue: deque[Errand] = deque()
        self._start()

    def _start(self) -> None:
        context = _context()
        self.holds: set[int] = set()
        self.deadline = inf
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.config), daemon=True)
        with started_safely():
            self.process.start()
        theirs.close()

    def send(self, timeout: float | None) -> None:
        self.pipe.send(list(self.queue))
        self._wait_for(self.queue[0], timeout)

    def receive(self, answers: dict[int, Any], timeout: float | None) -> str | None:
        """Take one message; "crash" if there is none because the process is gone."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            return "crash"
        if isinstance(message, UserError | WorkerError):
            raise message
        if message is _PROGRESS:
            self.deadline = _deadline(timeout)
            return None
        job = self.queue.popleft()
        answers[job.slot] = message
        self.holds.add(job.slot)
        if self.queue:
            self._wait_for(self.queue[0], timeout)
        return None

    def _wait_for(self, job: Errand, timeout: float | None) -> None:
        self.deadline = _deadline(max(timeout, RESET_SECONDS) if timeout and job.start else timeout)

    def restart(self) -> None:
        self.stop(grace=0.0)
        self._start()

    def stop(self, grace: float = 1.0) -> None:
        self.pipe.close()  # a living worker reads the end of the pipe and leaves
        self.process.join(grace)
        self.process.kill()
        self.process.join()


def _deadline(seconds: float | None) -> float:
    return inf if seconds is None else time.monotonic() + seconds


# ---- in the worker -----------------------------------------------------------------------------------------------

_CARRIED = ("success", "metrics", *ADMISSIBLE)
_PROGRESS = None  # a part of a job is done, another one follows


def _serve(pipe: Connection, config: Env) -> None:
    settle()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    games: dict[int, Checked] = {}
    while True:
        try:
            jobs: list[Errand] = pipe.recv()
        except EOFError:
            return
        for job in jobs:
            try:
                if job.slot not in games:
                    games[job.slot] = Checked(config)
                *parts, last = _parts(games[job.slot], job)
                for part in parts:
                    part()
                    pipe.send(_PROGRESS)
                pipe.send(last())
            except UserError as error:
                if error.__cause__ is not None:  # which does not travel
                    error.add_note(traceback.format_exc())
                pipe.send(error)
            except Exception:
                pipe.send(WorkerError(traceback.format_exc()))


def _parts(env: Checked, job: Errand) -> list[Callable[[], Any]]:
    parts: list[Callable[[], Any]] = []
    if job.start:
        parts.append(partial(env.reset, *job.start))
    parts += [partial(_step, env, action) for action in job.actions]
    if job.ask:
        parts.append(getattr(env, job.ask))
    return parts


def _step(env: Checked, action: str) -> Answer:
    """A step that any pipe can carry: an environment's `info` may hold anything."""
    answer = env.step(action)
    return answer._replace(info={key: answer.info[key] for key in _CARRIED if key in answer.info})
